import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { kernelSockets } from '../resources/kernel-sockets.ts'
import { needing } from '../resources/needs.ts'
import { openNetwork } from '../resources/netns.ts'
import { dropPackets, type Lost } from '../resources/partition.ts'
import type { Program } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { openTraffic } from './traffic.ts'

const leaseMs = 5_000
const closingMs = 1_000
const ports = { stays: 8081, goes: 8082 }
const targetPort = 7000

interface Line {
  readonly time: string
  readonly event: string
  readonly relay?: string
}

/** What an agent has logged so far. */
const linesOf = (agent: Program): Line[] =>
  agent
    .output()
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line))

const times = (agent: Program, event: string, relay: string) =>
  linesOf(agent)
    .filter(line => line.event === event && line.relay === relay)
    .map(({ time }) => Date.parse(time))

function relaySockets({ pid }: Program) {
  const concerned: readonly number[] = [...Object.values(ports), targetPort]
  return kernelSockets(pid).filter(
    ({ localPort, remotePort }) => concerned.includes(localPort) || concerned.includes(remotePort),
  )
}

needing('root', 'ip', 'nft')(
  'hosts whose packets are lost, both ways or one, let go within the lease, and nothing revoked meanwhile comes back',
  async () => {
    await using network = await openNetwork(4)
    await using fleet = await openFleet()
    await using held = new AsyncDisposableStack()
    const [hub, ...edges] = network.hosts
    await fleet.startController({ netns: hub!.netns, ip: hub!.ip })
    const ways: readonly Lost[] = ['both', 'sent', 'received']
    const hosts = await Promise.all(
      ways.map(async (lost, i) => {
        const { netns } = edges[i]!
        const agent = await fleet.startAgent(`loses-${lost}`, { netns, labels: { tried: 'yes' } })
        return { lost, netns, agent, traffic: held.use(await openTraffic({ netns, port: targetPort })) }
      }),
    )
    for (const [name, port] of Object.entries(ports)) {
      const listen = `TCP4-LISTEN:${port},bind=127.0.0.1,fork`
      const target = `TCP4:127.0.0.1:${targetPort}`
      await fleet.cat(['create', name, '-l', 'tried=yes', '--lease', '5s', listen, target, '--wait'])
    }
    for (const { traffic } of hosts) {
      for (const port of Object.values(ports)) expect(await traffic.open(port)).toBeTypeOf('number')
    }

    const partitions = await Promise.all(
      hosts.map(async ({ netns, lost }) => held.use(await dropPackets(netns, lost))),
    )
    const lostAt = Date.now()
    const revoking = fleet.cat(['revoke', 'relay/goes', '--timeout', '60s', '-o', 'json'], 6)

    for (const { lost, agent, traffic } of hosts) {
      await until(`${lost}: no socket is left`, () => relaySockets(agent).length === 0, 40_000)
      await until(`${lost}: the talks are over`, async () => {
        return [...(await traffic.talks()).values()].every(({ closed }) => closed)
      })
      await until(`${lost}: it says so`, () => times(agent, 'relay.lapsed', 'stays').length > 0)
      const [lapsedAt = Infinity] = times(agent, 'relay.lapsed', 'stays')
      expect(lapsedAt - lostAt, `${lost}: lapsed`).toBeLessThanOrEqual(leaseMs + closingMs)
      for (const name of Object.keys(ports)) {
        const closed = times(agent, 'connection.closed', name)
        expect(closed, `${lost}: ${name}`).toHaveLength(1)
        expect(closed[0]! - lostAt, `${lost}: ${name} closed`).toBeLessThanOrEqual(leaseMs + closingMs)
      }
      const lateMs = lapsedAt - lostAt
      console.log(`packets lost ${lost}: closed ${lateMs} ms after, with a lease of ${leaseMs} ms`)
    }
    const { receipts } = JSON.parse((await revoking).stdout)
    for (const { verdict, fencedBy } of receipts) {
      expect(verdict).toBe('fenced')
      expect(Date.parse(fencedBy)).toBeLessThanOrEqual(Date.now() + leaseMs + closingMs)
    }
    await fleet.cat(['wait', 'relay/goes', '--for', 'revoked'])

    for (const partition of partitions) await partition[Symbol.asyncDispose]()
    await fleet.cat(['wait', 'relay/stays', '--for', 'ready', '--timeout', '60s'])
    await until(
      'every receipt is in',
      async () => {
        const { items } = await fleet.json(['revocations'])
        return items[0].receipts.every(({ verdict }: { verdict: string }) => verdict === 'cut')
      },
      30_000,
    )
    for (const { lost, agent, traffic } of hosts) {
      expect(times(agent, 'relay.applied', 'stays'), lost).toHaveLength(2)
      expect(times(agent, 'relay.applied', 'goes'), lost).toHaveLength(1)
      expect(relaySockets(agent).map(({ localPort }) => localPort)).toEqual([ports.stays])
      expect(await traffic.open(ports.stays)).toBeTypeOf('number')
      expect(await traffic.open(ports.goes)).toBeUndefined()
    }
  },
  150_000,
)
