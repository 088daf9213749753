import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { openEchoServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'
import { desired, openHost, permit } from './resources.ts'

const hour = 3_600_000
const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
const windows = ['Mon-Fri 08:00-18:00 Europe/Paris']

/** A host whose wall clock the test sets. */
function openTimedHost(at: string) {
  let now = Date.parse(at)
  const rules = { permit: permit('TCP-LISTEN:127.0.0.1:*', 'TCP:127.0.0.1:*', 'MEMORY:*'), forbid: [] }
  const host = openHost({ rules, wall: () => now })
  const set = (to: string) => {
    now = Date.parse(to)
  }
  const state = () => host.reconciler.report('r-1')?.state
  return Object.assign(host, { set, state })
}

test('at the end of its window a relay closes and cuts, says when it opens, and opens by itself', async () => {
  await using target = await openEchoServer()
  await using host = openTimedHost('2026-07-17T15:59:00Z')
  await host.reconciler.sync([
    desired('r-1', { listen, windows, targets: [`TCP4:127.0.0.1:${target.port}`] }),
  ])
  const port = Number(host.reconciler.report('r-1')!.local[0]!.split(':')[1])
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await until('it is connected', () => host.roster.live.size === 1)

  host.set('2026-07-17T16:00:00Z')
  await until('the window is closed', () => host.state() === RelayState.PENDING)
  await until('the connection is cut', () => socket.destroyed)
  const opensAt = new Date('2026-07-20T06:00:00Z')
  expect(host.reconciler.report('r-1')).toMatchObject({
    retryAt: opensAt,
    local: [],
    problem: { code: 'out-of-hours', why: expect.stringContaining(opensAt.toISOString()) },
  })
  const closed = host.kept.lines.find(({ event }) => event === 'connection.closed')
  expect(closed).toMatchObject({ cause: 'out-of-hours' })

  host.set('2026-07-20T06:00:00Z')
  await until('it is open again', () => host.state() === RelayState.READY)
  expect(host.reconciler.report('r-1')!.retryAt).toBeUndefined()
})

test('a clock that is set is noticed, forward and back', async () => {
  await using host = openTimedHost('2026-07-17T10:00:00Z')
  await host.reconciler.sync([desired('r-1', { listen, windows })])
  expect(host.state()).toBe(RelayState.READY)
  host.set('2026-07-17T23:00:00Z')
  await until('the window is closed', () => host.state() === RelayState.PENDING)
  host.set('2026-07-17T10:00:00Z')
  await until('it is open again', () => host.state() === RelayState.READY)
  host.set('2026-07-17T05:00:00Z')
  await until('it is closed again', () => host.state() === RelayState.PENDING)
})

test('other windows change a relay that keeps running', async () => {
  await using host = openTimedHost('2026-07-17T10:00:00Z')
  await host.reconciler.sync([desired('r-1', { listen })])
  const { local } = host.reconciler.report('r-1')!
  await host.reconciler.apply([desired('r-1', { listen, windows, generation: 2n })], [])
  expect(host.reconciler.report('r-1')).toMatchObject({ state: RelayState.READY, local, generation: 2n })
  await host.reconciler.apply([desired('r-1', { listen, windows: ['22:00-06:00 UTC'], generation: 3n })], [])
  await until('it is closed', () => host.state() === RelayState.PENDING)
  await host.reconciler.apply([desired('r-1', { listen, generation: 4n })], [])
  expect(host.state()).toBe(RelayState.READY)
})

test('a relay that has expired does not open with its window', async () => {
  let steady = 0
  let now = Date.parse('2026-07-17T20:00:00Z')
  await using host = openHost({ clock: () => steady, wall: () => now })
  const expiresIn = { seconds: 3_600n, nanos: 0 }
  await host.reconciler.sync([desired('r-1', { listen: 'MEMORY-LISTEN:a', windows, expiresIn })])
  expect(host.reconciler.report('r-1')!.state).toBe(RelayState.PENDING)
  steady = hour
  now = Date.parse('2026-07-20T10:00:00Z')
  await host.reconciler.rightsChanged()
  expect(host.reconciler.report('r-1')!.state).toBe(RelayState.EXPIRED)
})

test('windows that make no sense here are refused, not taken for always', async () => {
  await using host = openTimedHost('2026-07-17T10:00:00Z')
  await host.reconciler.sync([desired('r-1', { listen, windows: ['08:00-18:00 Mars/Olympus'] })])
  expect(host.reconciler.report('r-1')).toMatchObject({
    state: RelayState.REJECTED,
    problem: { code: 'usage', why: expect.stringContaining('Mars/Olympus') },
  })
})
