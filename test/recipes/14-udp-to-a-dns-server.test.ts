import { expect } from 'vitest'
import { type Fleet, openFleet } from '../e2e/fleet.ts'
import { openDatagramSocket } from '../resources/datagram-sockets.ts'
import { needing } from '../resources/needs.ts'
import { type Program, run, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { follow, permitted, readPage } from './guide.ts'

const name = '14-udp-to-a-dns-server'
const patience = 60_000
const long = 'x'.repeat(250)

/** A port that nobody has, of UDP. */
async function freeUdpPort(): Promise<string> {
  await using socket = await openDatagramSocket()
  return String(socket.port)
}

async function startDnsServer(port: string): Promise<Program> {
  const server = startProgram([
    'dnsmasq',
    '--no-daemon',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--pid-file=',
    '--user=',
    `--port=${port}`,
    '--listen-address=127.0.0.1',
    '--bind-interfaces',
    '--address=/www.example.com/192.0.2.7',
    `--txt-record=long.example.com,${long}`,
  ])
  await server.says(/started/)
  return server
}

async function openEdge(fleet: Fleet, dns: string) {
  const port = await freeUdpPort()
  const page = readPage(name, { '9.9.9.9:53': `127.0.0.1:${dns}`, 5353: port })
  await fleet.startController()
  await fleet.startAgent('edge-1', permitted(page))
  return { page, port }
}

const dig = (port: string, ...question: string[]) =>
  run(['dig', '+short', '+tries=1', '+time=2', '@127.0.0.1', '-p', port, ...question])

needing('dnsmasq', 'dig', 'bash')(
  'dig asks a DNS server through a relay, as the guide has it, and each conversation is listed',
  async () => {
    await using fleet = await openFleet()
    const dns = await freeUdpPort()
    await using _server = await startDnsServer(dns)
    const { page, port } = await openEdge(fleet, dns)

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toContain('192.0.2.7')

    const answers = await Promise.all(Array.from({ length: 10 }, () => dig(port, 'www.example.com')))
    expect(answers.map(answer => answer.stdout)).toEqual(Array(10).fill('192.0.2.7\n'))
    await until('each conversation is listed', async () => {
      const { items } = await fleet.json(['connections'])
      const sources = new Set(items.map(({ source }: { source: string }) => source))
      return (
        sources.size === 11 && items.every(({ target }: { target: string }) => target.endsWith(`:${dns}`))
      )
    })

    await fleet.cat(['revoke', 'relay/dns', '--reason', 'the end of the test'])
    expect((await dig(port, 'www.example.com')).code).not.toBe(0)
    expect((await fleet.json(['connections'])).items).toEqual([])
  },
  patience,
)

needing('dnsmasq', 'dig')(
  'an answer that is much longer than its question goes only where the address says so',
  async () => {
    await using fleet = await openFleet()
    const dns = await freeUdpPort()
    await using _server = await startDnsServer(dns)
    const { page, port } = await openEdge(fleet, dns)
    const [create = ''] = page.commands
    await fleet.cat(create.split(' ').slice(1))
    expect((await dig(port, 'long.example.com', 'TXT')).stdout).not.toContain(long)

    const other = await freeUdpPort()
    const generous = create.replace('create dns', 'create long').replace(port, other)
    await fleet.cat(generous.replace(',fork', ',fork,amplification=40').split(' ').slice(1))
    expect((await dig(other, 'long.example.com', 'TXT')).stdout).toContain(long)
  },
  patience,
)
