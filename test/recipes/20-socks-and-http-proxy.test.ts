import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { openConnectProxy } from '../resources/connect-proxy.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { run } from '../resources/program.ts'
import { startMicrosocks, startSshProxy } from '../resources/proxies.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

needing(
  'curl',
  'bash',
  'microsocks',
  'ssh',
  'sshd',
  'root',
)(
  'through SOCKS4a, SOCKS5 and HTTP proxies of other makes, and as a proxy, as the guide has it',
  async () => {
    await using held = new AsyncDisposableStack()
    const fleet = held.use(await openFleet())
    const web = held.use(
      await openServer(socket => {
        socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\nthe target\n')).resume()
      }),
    )
    const canary = 'canary-5d2e'
    const password = join(fleet.folder, 'proxy-password')
    await writeFile(password, `${canary}\n`, { mode: 0o600 })
    const socks4a = held.use(await startSshProxy())
    const socks5 = held.use(await startMicrosocks('-u', 'alice', '-P', canary))
    const http = held.use(await openConnectProxy())
    const port = String(await freePort())
    const page = readPage('20-socks-and-http-proxy', {
      'proxy.example.com': 'localhost',
      'target.example.com:80': `localhost:${web.port}`,
      '/etc/fleetcat/proxy-password': password,
      'socksport=1080': `socksport=${socks4a.port}`,
      'socksport=1081': `socksport=${socks5.port}`,
      'proxyport=3128': `proxyport=${http.port}`,
      8081: String(await freePort()),
      8082: String(await freePort()),
      8083: String(await freePort()),
      1090: port,
    })
    await fleet.startController()
    const agent = await fleet.startAgent('edge-1', permitted(page))

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout.match(/the target/g)).toHaveLength(4)
    expect(http.heads).toHaveLength(1)

    const elsewhere = await freePort()
    const denied = await run([
      ...['curl', '-sS', '--socks5-hostname', `127.0.0.1:${port}`],
      `http://localhost:${elsewhere}/`,
    ])
    expect(denied.code).toBe(97)
    await until('it is logged', () => agent.output().includes(`ASKED:localhost:${elsewhere}`))
    await until('it is counted', async () => {
      const { status } = await fleet.json(['describe', 'relay/proxy'])
      return JSON.stringify(status).includes('"denied":1')
    })

    const create = page.commands.find(command => command.includes('SOCKS5:'))!
    const inTheOpen = create
      .replace('create by-socks5', 'create open')
      .replace(/sockspass-file=\S+/, 'sockspass=x')
    const refused = await fleet.cat(inTheOpen.split(' ').slice(1), 2)
    expect(refused.stderr).toContain('sockspass-file=')
    const seen = [
      agent.output(),
      ...(await Promise.all(
        [['list'], ['describe', 'relay/by-socks5'], ['connections'], ['export']].map(async words =>
          JSON.stringify(await fleet.cat(words)),
        ),
      )),
    ]
    expect(seen.join()).not.toContain(canary)
    expect(await readFile(password, 'utf8')).toContain(canary)
  },
  90_000,
)
