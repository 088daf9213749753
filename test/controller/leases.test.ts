import { expect, test } from 'vitest'
import { openLeases } from '#controller/leases.ts'

function clocks() {
  const time = { monotonic: 5_000, wall: Date.UTC(2026, 0, 1) }
  return { time, leases: openLeases({ monotonic: () => time.monotonic, wall: () => time.wall }) }
}

function pass({ time }: ReturnType<typeof clocks>, ms: number): void {
  time.monotonic += ms
  time.wall += ms
}

test('a host has let go a lease and a second after the last word that it may go on', () => {
  const each = clocks()
  pass(each, 10_000)
  each.leases.granted('edge-1')
  pass(each, 3_000)
  expect(each.leases.endsBy('edge-1', 60_000).getTime()).toBe(each.time.wall - 3_000 + 61_000)
})

test('of a host that this process has told nothing, its own start counts', () => {
  const each = clocks()
  pass(each, 20_000)
  expect(each.leases.endsBy('edge-1', 60_000).getTime()).toBe(each.time.wall - 20_000 + 61_000)
})

test.each([3_600_000, -3_600_000, 400 * 86_400_000, -400 * 86_400_000])(
  'a clock that is set by %d ms changes how an end is written, and not when it is',
  by => {
    const each = clocks()
    each.leases.granted('edge-1')
    pass(each, 2_000)
    each.time.wall += by
    const left = each.leases.endsBy('edge-1', 5_000).getTime() - each.time.wall
    expect(left).toBe(4_000)
  },
)

test('a clock that drifts a little gives one answer', () => {
  const each = clocks()
  each.leases.granted('edge-1')
  const first = each.leases.endsBy('edge-1', 5_000)
  each.time.wall += 20
  expect(each.leases.endsBy('edge-1', 5_000)).toEqual(first)
})
