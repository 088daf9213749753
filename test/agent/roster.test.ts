import { expect, test } from 'vitest'
import { openRoster } from '#agent/roster.ts'
import type { Connection } from '#relay/relay.ts'
import { until } from '#test/resources/until.ts'

type Live = { -readonly [K in keyof Connection]: Connection[K] }

const connection = (id: string): Live => ({
  id,
  relayId: 'r-1',
  source: '127.0.0.1:1',
  target: 'TCP:db:5432',
  openedAt: new Date(),
  idleMs: 0,
  bytesIn: 0,
  bytesOut: 0,
})
const eof = { cause: 'eof', durationMs: 7 } as const

/** A roster whose reader has taken the first, empty snapshot. */
function taken(options: { chunk?: number; trafficMs?: number; batchMs?: number } = {}) {
  let due = 0
  const roster = openRoster({ due: () => due++, batchMs: 5, ...options })
  roster.take()
  return { roster, due: () => due, [Symbol.dispose]: () => roster[Symbol.dispose]() }
}

test('the first message is a snapshot, also of nothing', () => {
  using roster = openRoster({ due() {} })
  expect(roster.take()).toEqual({ snapshot: true, opened: [], closed: [], traffic: [], brief: 0n })
  expect(roster.take()).toBe(undefined)
})

test('what opens together is told together, after the batch time and not before', async () => {
  using held = taken()
  const before = held.due()
  held.roster.opened(connection('c-1'))
  held.roster.opened(connection('c-2'))
  expect(held.roster.take()).toBe(undefined)
  await until('the batch is due', () => held.due() > before)
  expect(held.roster.take()?.opened.map(({ id }) => id)).toEqual(['c-1', 'c-2'])
  expect(held.roster.take()).toBe(undefined)
})

test('how long a connection has been idle is taken as the engine says it', async () => {
  using held = taken()
  held.roster.opened({ ...connection('c-1'), idleMs: 90_500 })
  let opened: unknown
  await until('it is told', () => {
    opened = held.roster.take()?.opened[0]
    return opened
  })
  expect(opened).toMatchObject({ id: 'c-1', idle: { seconds: 90n, nanos: 500_000_000 } })
})

test('what opens and closes within one batch is only counted', async () => {
  using held = taken()
  const before = held.due()
  const [short, long] = [connection('c-1'), connection('c-2')]
  held.roster.opened(short)
  held.roster.opened(long)
  held.roster.closed(short, eof)
  await until('the batch is due', () => held.due() > before)
  expect(held.roster.take()).toMatchObject({ opened: [{ id: 'c-2' }], closed: [], brief: 1n })
})

test('a connection that was told is told to be closed, with its bytes and its cause', async () => {
  using held = taken()
  const live = connection('c-1')
  held.roster.opened(live)
  await until('it is due', () => held.due() > 0)
  await until('it is told', () => held.roster.take()?.opened.length === 1)
  live.bytesIn = 10
  live.bytesOut = 20
  held.roster.closed(live, eof)
  const before = held.due()
  await until('the batch is due', () => held.due() > before)
  expect(held.roster.take()).toMatchObject({
    opened: [],
    closed: [{ id: 'c-1', cause: 'eof', bytesIn: 10n, bytesOut: 20n }],
  })
  expect(held.roster.totals).toEqual({ connections: 1, bytesIn: 10, bytesOut: 20 })
})

test('traffic is told of connections that moved, and of no other', async () => {
  using held = taken({ trafficMs: 10 })
  const [busy, quiet] = [connection('c-1'), connection('c-2')]
  held.roster.opened(busy)
  held.roster.opened(quiet)
  await until('both are told', () => held.roster.take()?.opened.length === 2)
  busy.bytesIn = 5
  let traffic: string[] = []
  await until('the traffic is told', () => {
    traffic = held.roster.take()?.traffic.map(({ id, bytesIn }) => `${id} ${bytesIn}`) ?? []
    return traffic.length > 0
  })
  expect(traffic).toEqual(['c-1 5'])
  expect(held.roster.take()).toBe(undefined)
})

test('a reader that stays away gets a snapshot in place of a story without end', async () => {
  using held = taken({ chunk: 3 })
  const all = Array.from({ length: 6 }, (_, i) => connection(`c-${i}`))
  for (const one of all) held.roster.opened(one)
  await until('the first half is told', () => held.roster.take()?.opened.length === 3)
  expect(held.roster.take()?.opened).toHaveLength(3)
  for (const one of all.slice(0, 5)) held.roster.closed(one, eof)
  expect(held.roster.take()).toMatchObject({ snapshot: true, opened: [{ id: 'c-5' }], closed: [] })
})

test('a long list comes in parts, of which the first says forget the rest', () => {
  using roster = openRoster({ due() {}, chunk: 2 })
  for (let i = 0; i < 5; i++) roster.opened(connection(`c-${i}`))
  const parts = [roster.take(), roster.take(), roster.take(), roster.take()]
  expect(parts.map(part => part && [part.snapshot, part.opened.length])).toEqual([
    [true, 2],
    [false, 2],
    [false, 1],
    undefined,
  ])
})

test('a connection that had to go on to another target is told anew', async () => {
  using held = taken({ trafficMs: 5 })
  const live = connection('c-1')
  held.roster.opened(live)
  await until('it is told', () => held.roster.take())
  live.target = 'TCP:db2:5432'
  const again = await until('it is told anew', () => held.roster.take())
  expect(again).toMatchObject({ opened: [{ id: 'c-1', target: 'TCP:db2:5432' }], brief: 0n })
  held.roster.closed(live, eof)
  const last = await until('its end is told', () => held.roster.take())
  expect(last).toMatchObject({ closed: [{ id: 'c-1' }], brief: 0n })
})
