import { afterEach, expect, test } from 'vitest'
import { type Lease, openLease } from '#agent/lease.ts'
import { until } from '#test/resources/until.ts'

let opened: Lease | undefined
afterEach(() => opened?.[Symbol.dispose]())

/** A lease whose clock the test moves; the relays here have these lengths. */
function setting(...lengths: number[]) {
  let now = 1_000
  let due = 0
  let changes = 0
  const lease = openLease({
    clock: () => now,
    lengths: () => lengths,
    due: () => void due++,
    changed: () => void changes++,
  })
  opened = lease
  const pass = (ms: number) => {
    now += ms
  }
  return { lease, lengths, due: () => due, changes: () => changes, pass }
}

test('nothing may run before the first answer', () => {
  const { lease } = setting(60_000)
  expect(lease.begun).toBe(false)
  expect(lease.holds(86_400_000)).toBe(false)
})

test('it counts from the moment of asking, so that a slow answer only shortens it', () => {
  const { lease, pass } = setting(10_000)
  const nonce = lease.ask()
  pass(9_000)
  lease.granted(nonce)
  expect(lease.holds(10_000)).toBe(true)
  pass(999)
  expect(lease.holds(10_000)).toBe(true)
  pass(1)
  expect(lease.holds(10_000)).toBe(false)
})

test('an answer that comes when its time is over gives nothing', () => {
  const { lease, pass } = setting(10_000)
  const nonce = lease.ask()
  pass(10_000)
  lease.granted(nonce)
  expect(lease.holds(10_000)).toBe(false)
})

test('answers to what was never asked, or twice, change nothing', () => {
  const { lease, pass } = setting(10_000)
  lease.granted(77n)
  expect(lease.holds(10_000)).toBe(false)
  const nonce = lease.ask()
  lease.granted(nonce)
  pass(10_000)
  lease.granted(nonce)
  expect(lease.holds(10_000)).toBe(false)
})

test('an answer to an older question never shortens what a newer one gave', () => {
  const { lease, pass } = setting(10_000)
  const older = lease.ask()
  pass(5_000)
  const newer = lease.ask()
  lease.granted(newer)
  lease.granted(older)
  pass(9_999)
  expect(lease.holds(10_000)).toBe(true)
})

test('each relay has a lease of its own length', () => {
  const { lease, pass } = setting(5_000, 60_000)
  lease.granted(lease.ask())
  pass(5_000)
  expect(lease.holds(5_000)).toBe(false)
  expect(lease.holds(60_000)).toBe(true)
})

test('its end is noticed, and so is its return', async () => {
  const { lease, changes, pass } = setting(5_000)
  lease.granted(lease.ask())
  expect(changes()).toBe(1)
  pass(5_000)
  await until('the end is noticed', () => changes() === 2)
  lease.granted(lease.ask())
  expect(changes()).toBe(3)
})

test('it is asked for again at a third of the shortest', async () => {
  const { lease, due, pass } = setting(5_000, 60_000)
  lease.granted(lease.ask())
  const before = due()
  pass(1_700)
  await until('it is due', () => due() > before)
})

test('it is asked for at once when a relay comes for which the last answer is too old', () => {
  const { lease, lengths, due, pass } = setting(60_000)
  lease.granted(lease.ask())
  pass(9_000)
  lengths.push(5_000)
  lease.lengthsChanged()
  expect(due()).toBe(1)
  expect(lease.holds(5_000)).toBe(false)
  lease.granted(lease.ask())
  expect(lease.holds(5_000)).toBe(true)
})
