import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { openEchoServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'
import { desired, openHost, permit } from './resources.ts'

const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'

/** A host whose steady clock the test moves. */
function openTimedHost() {
  let now = 1_000_000
  const rules = { permit: permit('TCP-LISTEN:127.0.0.1:*', 'TCP:127.0.0.1:*', 'MEMORY:*'), forbid: [] }
  const host = openHost({ rules, clock: () => now })
  const pass = (ms: number) => {
    now += ms
  }
  const state = (id: string) => host.reconciler.report(id)?.state
  return Object.assign(host, { pass, state })
}

const lasting = (ms: number, more: Parameters<typeof desired>[1] = {}) =>
  desired('r-1', { listen, expiresIn: toDuration(ms), ...more })

test('at its end a relay closes its listener, cuts its connections and says that it has expired', async () => {
  await using target = await openEchoServer()
  await using host = openTimedHost()
  await host.reconciler.sync([lasting(60_000, { targets: [`TCP4:127.0.0.1:${target.port}`] })])
  const port = Number(host.reconciler.report('r-1')!.local[0]!.split(':')[1])
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await until('it is connected', () => host.roster.live.size === 1)

  host.pass(59_000)
  await host.reconciler.rightsChanged()
  expect(host.state('r-1')).toBe(RelayState.READY)
  host.pass(1_000)
  await until('it has expired', () => host.state('r-1') === RelayState.EXPIRED)
  await until('the connection is cut', () => socket.destroyed)
  expect(host.roster.live.size).toBe(0)
  const closed = host.kept.lines.find(({ event }) => event === 'connection.closed')
  expect(closed).toMatchObject({ cause: 'expired' })
  const refused = await new Promise(resolve => connect(port, '127.0.0.1').once('error', resolve))
  expect(refused).toMatchObject({ code: 'ECONNREFUSED' })
})

test('what is over when it is heard never opens', async () => {
  await using host = openTimedHost()
  await host.reconciler.sync([lasting(0)])
  expect(host.reconciler.report('r-1')).toMatchObject({ state: RelayState.EXPIRED, local: [] })
  expect(host.kept.lines.map(({ event }) => event)).toEqual(['relay.expired'])
})

test('of one generation the nearest end is believed, and of another its own', async () => {
  await using host = openTimedHost()
  await host.reconciler.sync([lasting(10_000)])
  // A controller whose clock was set back would give the time anew.
  await host.reconciler.sync([lasting(10_000)])
  host.pass(6_000)
  await host.reconciler.sync([lasting(10_000)])
  host.pass(4_000)
  await until('it has expired', () => host.state('r-1') === RelayState.EXPIRED)
  await host.reconciler.sync([lasting(10_000)])
  expect(host.state('r-1')).toBe(RelayState.EXPIRED)
  await host.reconciler.apply([lasting(10_000, { generation: 2n })], [])
  expect(host.state('r-1')).toBe(RelayState.READY)
})

test('more time, less time and no end change a relay that keeps running', async () => {
  await using host = openTimedHost()
  await host.reconciler.sync([lasting(10_000)])
  const { local } = host.reconciler.report('r-1')!
  await host.reconciler.apply([lasting(90_000, { generation: 2n })], [])
  host.pass(10_000)
  await host.reconciler.rightsChanged()
  expect(host.reconciler.report('r-1')).toMatchObject({ state: RelayState.READY, local })
  await host.reconciler.apply([desired('r-1', { listen, generation: 3n })], [])
  host.pass(1_000_000)
  await host.reconciler.rightsChanged()
  expect(host.reconciler.report('r-1')).toMatchObject({ state: RelayState.READY, local })
  await host.reconciler.apply([lasting(1_000, { generation: 4n })], [])
  host.pass(1_000)
  await until('it has expired', () => host.state('r-1') === RelayState.EXPIRED)
})

test('a host whose lease has lapsed still knows that a relay has expired, and does not bring it back', async () => {
  let now = 0
  let holds = true
  const lease = { holds: () => holds, isBegun: () => true as const }
  await using host = openHost({ lease, clock: () => now })
  await host.reconciler.sync([lasting(10_000, { listen: 'MEMORY-LISTEN:a' })])
  const state = () => host.reconciler.report('r-1')?.state
  holds = false
  await host.reconciler.rightsChanged()
  expect(state()).toBe(RelayState.LAPSED)
  now = 10_000
  await host.reconciler.rightsChanged()
  expect(state()).toBe(RelayState.EXPIRED)
  holds = true
  await host.reconciler.rightsChanged()
  expect(state()).toBe(RelayState.EXPIRED)
})
