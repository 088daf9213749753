import { expect, test } from 'vitest'
import { openSteadyClock } from '#agent/steady-clock.ts'

/** A host whose three clocks the test moves. */
function host() {
  const at = { monotonic: 1_000, wall: 1_700_000_000_000, uptime: 50_000 as number | undefined }
  let reads = 0
  const clock = openSteadyClock({
    monotonic: () => at.monotonic,
    wall: () => at.wall,
    uptime: () => {
      reads++
      return at.uptime
    },
  })
  const pass = (ms: number) => {
    at.monotonic += ms
    sleep(ms)
  }
  const sleep = (ms: number) => {
    at.wall += ms
    if (at.uptime !== undefined) at.uptime += ms
  }
  return { at, clock, pass, sleep, reads: () => reads }
}

test('time passes', () => {
  const { clock, pass } = host()
  const before = clock()
  pass(1_234)
  expect(clock() - before).toBe(1_234)
})

test('a suspend counts, though the monotonic clock stands still in it', () => {
  const { clock, pass, sleep } = host()
  const before = clock()
  pass(100)
  sleep(60_000)
  expect(clock() - before).toBe(60_100)
  sleep(60_000)
  pass(1)
  expect(clock() - before).toBe(120_101)
})

test.each([3_600_000, -3_600_000, 400 * 86_400_000])(
  'a wall clock that is set by %d ms changes nothing',
  ms => {
    const { at, clock, pass } = host()
    const before = clock()
    at.wall += ms
    expect(clock()).toBe(before)
    pass(10)
    expect(clock() - before).toBe(10)
  },
)

test('a suspend counts also when the wall clock is set at the same time', () => {
  const { at, clock, sleep } = host()
  const before = clock()
  sleep(60_000)
  at.wall -= 3_600_000
  expect(clock() - before).toBe(60_000)
})

test('it never goes back', () => {
  const { at, clock, pass, sleep } = host()
  const before = clock()
  sleep(60_000)
  clock()
  at.uptime! -= 30_000
  at.wall += 5_000
  pass(1)
  expect(clock() - before).toBe(60_001)
})

test('the uptime is not read for every question', () => {
  const { clock, pass, reads } = host()
  const before = reads()
  for (let i = 0; i < 1_000; i++) {
    pass(1)
    clock()
  }
  expect(reads()).toBe(before)
})

test('without an uptime it is the monotonic clock', () => {
  const at = { now: 0 }
  const clock = openSteadyClock({ monotonic: () => at.now, wall: () => 5, uptime: () => undefined })
  at.now = 700
  expect(clock()).toBe(700)
})

test('the clocks of this host pass too', () => {
  const clock = openSteadyClock()
  const before = clock()
  expect(clock()).toBeGreaterThanOrEqual(before)
})
