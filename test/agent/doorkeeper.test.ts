import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { openBans } from '#agent/bans.ts'
import { openDoorkeeper } from '#agent/doorkeeper.ts'
import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import { RelayLimits } from '#gen/fleetcat/v1/relay.ts'
import { openPki } from '#test/resources/pki.ts'
import { openEchoServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'
import { desired, keptLog, openHost, permit } from './resources.ts'

const rule = { after: 3, within: toDuration(60_000), lasts: toDuration(600_000) }
const relay = { id: 'r-1', name: 'web' }

/** A doorkeeper whose clock the test moves. */
function setting() {
  let now = 0
  let told = 0
  const bans = openBans(() => now)
  const { log, lines } = keptLog()
  const keeper = openDoorkeeper({ clock: () => now, bans, banned: () => void told++, log })
  const turn = (ip: string, more = {}) => keeper.turnedAway(relay, ip, { ...rule, ...more })
  const pass = (ms: number) => {
    now += ms
  }
  return { bans, turn, pass, lines, told: () => told }
}

describe('whoever is turned away', () => {
  test('so often in that time is shut out, and nobody else', () => {
    const { bans, turn, told } = setting()
    turn('192.0.2.7')
    turn('192.0.2.8')
    turn('192.0.2.7')
    expect(told()).toBe(0)
    turn('192.0.2.7')
    expect(told()).toBe(1)
    expect(bans.own()).toEqual([{ relayId: 'r-1', cidr: '192.0.2.7/32', until: 600_000 }])
    expect(bans.refuses('r-1', '192.0.2.8')).toBe(false)
  })

  test('less often is only refused: the time slides', () => {
    const { bans, turn, pass } = setting()
    for (let i = 0; i < 20; i++) {
      turn('192.0.2.7')
      pass(30_000)
    }
    expect(bans.own()).toEqual([])
    turn('192.0.2.7')
    turn('192.0.2.7')
    expect(bans.own()).toHaveLength(1)
  })

  test('from many addresses of one IPv6 network counts as one', () => {
    const { bans, turn } = setting()
    for (const end of ['1', '2', 'ffff:1']) turn(`2001:db8:0:1::${end}`)
    expect(bans.own()).toMatchObject([{ cidr: '2001:db8:0:1::/64' }])
  })

  test('from ever new sources fills nothing: a minute and the host have room for so many bans', () => {
    const { bans, turn, pass, lines } = setting()
    const flood = (n: number) => {
      for (let i = 0; i < 100; i++) turn(`10.${n}.0.${i}`, { after: 1, lasts: toDuration(86_400_000) })
    }
    flood(0)
    expect(bans.own()).toHaveLength(60)
    for (let n = 1; n <= 20; n++) {
      pass(60_000)
      flood(n)
    }
    expect(bans.own()).toHaveLength(1_000)
    expect(lines.some(({ event }) => event === 'ban.none-left')).toBe(true)
    pass(86_400_000)
    turn('192.0.2.7', { after: 1 })
    expect(bans.own()).toHaveLength(1)
  })
})

describe('a relay with a rule', () => {
  const rules = {
    permit: permit(
      'TCP-LISTEN:127.0.0.1:*',
      'OPENSSL-LISTEN:127.0.0.1:*',
      'TCP:127.0.0.1:*',
      'OPEN:/**,rdonly',
    ),
    forbid: [],
  }
  const limits = (more: Partial<RelayLimits> = {}) => RelayLimits.fromPartial({ ban: rule, ...more })
  type Host = ReturnType<typeof openHost>

  async function run(host: Host, more: Partial<Desired>) {
    await host.reconciler.sync([desired('r-1', more)])
    return Number(host.reconciler.report('r-1')!.local[0]!.split(':')[1])
  }
  const refusals = (host: Host) => host.reconciler.report('r-1')!.refusals
  function open(port: number, from: string, data = '') {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from })
    socket.on('error', () => {})
    if (data) socket.write(data)
    return socket
  }
  async function refused(port: number, from: string, data = '') {
    const socket = open(port, from, data)
    await until('it is turned away', () => socket.destroyed)
  }

  test('bans a source that comes too often, and cuts what the source has open', async () => {
    await using target = await openEchoServer()
    await using host = openHost({ rules })
    const targets = [`TCP4:127.0.0.1:${target.port}`]
    const port = await run(host, { targets, limits: limits() })
    const [inside, other] = [open(port, '127.0.0.2'), open(port, '127.0.0.3')]
    await until('both are there', () => host.roster.live.size === 2)
    await run(host, { targets, limits: limits({ ratePerSecond: 0.001 }), generation: 2n })
    const last = open(port, '127.0.0.3')
    await until('the last for now is there', () => host.roster.live.size === 3)
    for (let i = 0; i < 3; i++) await refused(port, '127.0.0.2')
    await until('it is cut', () => inside.destroyed)
    expect(other.destroyed).toBe(false)
    expect(host.bans.own()).toMatchObject([{ relayId: 'r-1', cidr: '127.0.0.2/32' }])
    await refused(port, '127.0.0.2')
    expect(refusals(host)['banned-source']).toBeGreaterThan(0n)
    for (const socket of [other, last]) socket.destroy()
  })

  test('bans who fails at the door', async () => {
    using pki = openPki()
    await using host = openHost({ rules })
    const leaf = pki.issue({ name: 'localhost' })
    const listen = `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${leaf.both},verify=0`
    const port = await run(host, { listen, targets: ['TCP4:127.0.0.1:1'], limits: limits() })
    for (let i = 0; i < 3; i++) await refused(port, '127.0.0.2', 'this is not TLS at all\r\n\r\n')
    await until('it is banned', () => host.bans.own().length === 1)
    expect(host.bans.own()).toMatchObject([{ cidr: '127.0.0.2/32' }])
  })

  test('bans nobody for a target that cannot be reached, or for want of room', async () => {
    await using host = openHost({ rules })
    const port = await run(host, { targets: ['TCP4:127.0.0.1:1'], limits: limits({ maxConnections: 1 }) })
    for (let i = 0; i < 6; i++) await refused(port, '127.0.0.2')
    expect(host.bans.own()).toEqual([])
  })

  test('bans nobody on behalf of a proxy that is trusted, and who is behind it by its own address', async () => {
    using pki = openPki()
    await using host = openHost({ rules })
    const leaf = pki.issue({ name: 'localhost' })
    const listen = `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${leaf.both},verify=0,proxy-protocol=127.0.0.2`
    const port = await run(host, { listen, targets: ['TCP4:127.0.0.1:1'], limits: limits() })
    for (let i = 0; i < 5; i++) await refused(port, '127.0.0.2', 'GET / HTTP/1.0\r\n\r\n')
    expect(host.bans.own()).toEqual([])
    const header = 'PROXY TCP4 203.0.113.9 198.51.100.1 4000 443\r\n'
    for (let i = 0; i < 3; i++) await refused(port, '127.0.0.2', `${header}no TLS either\r\n\r\n`)
    await until('it is banned', () => host.bans.own().length === 1)
    expect(host.bans.own()).toMatchObject([{ cidr: '203.0.113.9/32' }])
  })
})
