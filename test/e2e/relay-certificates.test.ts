import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { authorityOf } from '../resources/certificates.ts'
import { needing } from '../resources/needs.ts'
import { run } from '../resources/program.ts'
import { openEchoServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

async function localOf(fleet: Fleet, name: string): Promise<{ host: string; port: number }> {
  const { items } = await fleet.json(['list'])
  const relay = items.find((item: { metadata: { name: string } }) => item.metadata.name === name)
  const [host = '', port] = relay.status.agents[0].local[0].split(':')
  return { host, port: Number(port) }
}

async function dial(options: { host: string; port: number; ca: string }): Promise<TLSSocket> {
  const socket = connect({ ...options, servername: 'localhost' })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

const shownBy = (socket: TLSSocket) => new X509Certificate(socket.getPeerCertificate().raw).serialNumber

test('a relay shows a certificate of the fleet and renews it; who is connected notices nothing', async () => {
  await using target = await openEchoServer()
  await using fleet = await openFleet()
  const config = join(fleet.folder, 'controller.yaml')
  await writeFile(config, 'certificates:\n  agent: 8s\n')
  const controller = await fleet.startController({ args: ['--config', config] })
  await fleet.startAgent('edge')
  const door = 'OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=auto,verify=0'
  await fleet.cat(['create', 'web', '--on', 'edge', door, `TCP4:127.0.0.1:${target.port}`, '--wait'])
  const ca = (await authorityOf(join(fleet.folder, 'controller'))).certificatePem
  const at = { ...(await localOf(fleet, 'web')), ca }
  const first = await dial(at)
  const old = shownBy(first)
  let last = first
  try {
    await until(
      'the certificate has been renewed twice',
      async () => {
        const next = await dial(at)
        if (shownBy(next) === shownBy(last)) return void next.destroy()
        if (last !== first) last.destroy()
        last = next
        return controller.output().match(/"event":"relay.certified"/g)!.length > 2
      },
      40_000,
    )
    expect(shownBy(last)).not.toBe(old)
    first.write('still here')
    const [answer] = await once(first, 'data')
    expect(String(answer)).toBe('still here')
    const { items } = await fleet.json(['list'])
    expect(items[0].status.agents[0].trace).toHaveLength(1)
    const audit = await fleet.cat(['audit', '--event', 'relay.certified'])
    expect(audit.stdout).toMatch(/relay\/web/)
  } finally {
    first.destroy()
    last.destroy()
  }
}, 60_000)

needing('openssl')(
  'two relays with cert=auto speak to each other, and to nobody without a certificate of the fleet',
  async () => {
    await using target = await openEchoServer()
    await using fleet = await openFleet()
    await fleet.startController()
    await fleet.startAgent('web-1')
    await fleet.startAgent('app-1')
    const { cluster } = await fleet.json(['status'])
    const pin = `identity=spiffe://${cluster}/relay/app/app-1`
    const door = `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=auto,cert-names=api.example.com,${pin}`
    await fleet.cat(['create', 'api', '--on', 'web-1', door, `TCP4:127.0.0.1:${target.port}`, '--wait'])
    const api = await localOf(fleet, 'api')
    const target2 = `OPENSSL:127.0.0.1:${api.port},cert=auto,commonname=api.example.com`
    await fleet.cat([
      ...['create', 'app', '--on', 'app-1', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', target2, '--wait'],
    ])
    const { port } = await localOf(fleet, 'app')
    const said = await run([
      'bash',
      '-c',
      `exec 3<>/dev/tcp/127.0.0.1/${port}; echo hello >&3; head -n 1 <&3`,
    ])
    expect(said).toMatchObject({ code: 0, stdout: 'hello\n' })

    const ca = join(fleet.folder, 'ca.pem')
    await writeFile(ca, (await authorityOf(join(fleet.folder, 'controller'))).certificatePem)
    const stranger = await run(
      [
        ...['openssl', 's_client', '-connect', `127.0.0.1:${api.port}`, '-CAfile', ca],
        ...['-verify_hostname', 'api.example.com', '-verify_return_error', '-ign_eof'],
      ],
      { input: 'hello\n' },
    )
    expect(stranger.stdout).toMatch(/Verify return code: 0|Verification: OK/)
    expect(stranger.stdout).not.toMatch(/^hello$/m)
    expect(stranger.stdout + stranger.stderr).toMatch(/certificate required|alert/)
  },
  60_000,
)
