import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hoursAt, parseWindow, parseWindows } from '#wire/window.ts'

const at = (iso: string) => Date.parse(iso)
const isOpen = (text: string, iso: string) => parseWindow(text).isOpen(at(iso))
const until = (text: string, iso: string) =>
  new Date(hoursAt([parseWindow(text)], at(iso)).until).toISOString()

describe('a window', () => {
  test.each([
    // Friday, 2026-07-17, in Paris two hours ahead of UTC.
    ['Mon-Fri 08:00-18:00 Europe/Paris', '2026-07-17T05:59:59.999Z', false, '2026-07-17T06:00:00.000Z'],
    ['Mon-Fri 08:00-18:00 Europe/Paris', '2026-07-17T06:00:00Z', true, '2026-07-17T16:00:00.000Z'],
    ['Mon-Fri 08:00-18:00 Europe/Paris', '2026-07-17T16:00:00Z', false, '2026-07-20T06:00:00.000Z'],
    ['Mon-Fri 08:00-18:00 Europe/Paris', '2026-01-16T06:30:00Z', false, '2026-01-16T07:00:00.000Z'],
    ['22:00-06:00 UTC', '2026-07-17T21:59:00Z', false, '2026-07-17T22:00:00.000Z'],
    ['22:00-06:00 UTC', '2026-07-18T05:59:59Z', true, '2026-07-18T06:00:00.000Z'],
    ['Fri 22:00-06:00 UTC', '2026-07-18T05:00:00Z', true, '2026-07-18T06:00:00.000Z'],
    ['Fri 22:00-06:00 UTC', '2026-07-17T05:00:00Z', false, '2026-07-17T22:00:00.000Z'],
    ['Sat 22:00-06:00 UTC', '2026-07-19T01:00:00Z', true, '2026-07-19T06:00:00.000Z'],
    ['Fri-Mon 09:00-10:00 UTC', '2026-07-17T10:00:00Z', false, '2026-07-18T09:00:00.000Z'],
    ['Sat,Sun 00:00-24:00 UTC', '2026-07-17T12:00:00Z', false, '2026-07-18T00:00:00.000Z'],
    ['Sat,Sun 00:00-24:00 UTC', '2026-07-18T12:00:00Z', true, '2026-07-20T00:00:00.000Z'],
    ['mon 8:00-9:00,12:00-13:05 Asia/Kathmandu', '2026-07-20T03:15:00Z', false, '2026-07-20T06:15:00.000Z'],
    ['mon 8:00-9:00,12:00-13:05 Asia/Kathmandu', '2026-07-20T06:15:00Z', true, '2026-07-20T07:20:00.000Z'],
  ])('%s at %s: %s until %s', (text, moment, open, end) => {
    expect(isOpen(text, moment)).toBe(open)
    expect(until(text, moment)).toBe(end)
  })

  test('that is always open stays so for as long as anybody looks', () => {
    const { isOpen: open, until: end } = hoursAt([parseWindow('00:00-24:00 UTC')], at('2026-07-17T00:00:00Z'))
    expect(open).toBe(true)
    expect(end).toBeGreaterThan(at('2026-07-30T00:00:00Z'))
  })

  test('joins with others, also of other zones', () => {
    const windows = parseWindows(['08:00-10:00 UTC', '05:30-08:00 America/New_York'])
    expect(hoursAt(windows, at('2026-07-17T08:00:00Z'))).toEqual({
      isOpen: true,
      until: at('2026-07-17T12:00:00Z'),
    })
  })
})

describe('when the clocks are changed', () => {
  test.each([
    // Forward: 02:00 is 03:00 in Paris on 2026-03-29, and in New York on 2026-03-08.
    ['02:30-04:00 Europe/Paris', '2026-03-29T00:00:00Z', '2026-03-29T01:00:00.000Z'],
    ['01:00-02:30 Europe/Paris', '2026-03-29T00:30:00Z', '2026-03-29T01:00:00.000Z'],
    ['02:15-02:45 Europe/Paris', '2026-03-29T00:00:00Z', '2026-03-30T00:15:00.000Z'],
    ['08:00-18:00 Europe/Paris', '2026-03-28T20:00:00Z', '2026-03-29T06:00:00.000Z'],
    ['02:30-04:00 America/New_York', '2026-03-08T06:00:00Z', '2026-03-08T07:00:00.000Z'],
    ['22:00-06:00 America/New_York', '2026-03-08T04:00:00Z', '2026-03-08T10:00:00.000Z'],
    // Back: 02:00 to 03:00 comes twice in Paris on 2026-10-25, and 01:00 to 02:00 in New York on 2026-11-01.
    ['00:00-02:30 Europe/Paris', '2026-10-24T23:00:00Z', '2026-10-25T00:30:00.000Z'],
    ['00:00-02:30 Europe/Paris', '2026-10-25T00:30:00Z', '2026-10-25T01:00:00.000Z'],
    ['00:00-02:30 Europe/Paris', '2026-10-25T01:00:00Z', '2026-10-25T01:30:00.000Z'],
    ['02:00-03:00 Europe/Paris', '2026-10-25T00:00:00Z', '2026-10-25T02:00:00.000Z'],
    ['08:00-18:00 Europe/Paris', '2026-10-24T20:00:00Z', '2026-10-25T07:00:00.000Z'],
    ['01:30-05:00 America/New_York', '2026-11-01T05:30:00Z', '2026-11-01T06:00:00.000Z'],
    ['22:00-06:00 America/New_York', '2026-11-01T04:00:00Z', '2026-11-01T11:00:00.000Z'],
    // Half an hour, and on the other half of the Earth; and a zone that changes nothing.
    ['01:45-03:00 Australia/Lord_Howe', '2026-10-03T15:00:00Z', '2026-10-03T15:15:00.000Z'],
    ['02:00-02:30 Australia/Lord_Howe', '2026-10-03T15:00:00Z', '2026-10-04T15:00:00.000Z'],
    ['01:30-02:00 Australia/Lord_Howe', '2026-04-04T14:30:00Z', '2026-04-04T15:30:00.000Z'],
    ['08:00-18:00 Asia/Kolkata', '2026-03-28T13:00:00Z', '2026-03-29T02:30:00.000Z'],
  ])('%s after %s: until %s', (text, moment, end) => {
    expect(until(text, moment)).toBe(end)
  })

  test('the next change is never missed: it is the same as found minute by minute', () => {
    const changes = [
      '2026-03-29T01:00:00Z',
      '2026-10-25T01:00:00Z',
      '2026-03-08T07:00:00Z',
      '2026-11-01T06:00:00Z',
    ]
    const minute = (n: number) =>
      `${String(Math.floor(n / 60)).padStart(2, '0')}:${String(n % 60).padStart(2, '0')}`
    const minutes = fc.integer({ min: 0, max: 1_439 })
    const zones = fc.constantFrom('Europe/Paris', 'America/New_York', 'Australia/Lord_Howe', 'UTC')
    fc.assert(
      fc.property(
        minutes,
        minutes,
        zones,
        fc.constantFrom(...changes),
        fc.integer({ min: -600, max: 300 }),
        (from, to, zone, change, shift) => {
          fc.pre(from !== to)
          const window = parseWindow(`${minute(from)}-${minute(to)} ${zone}`)
          const start = at(change) + shift * 60_000
          const open = window.isOpen(start)
          let slow = start
          while (window.isOpen(slow) === open && slow < start + 26 * 3_600_000) slow += 60_000
          const fast = hoursAt([window], start).until
          if (window.isOpen(slow) === open) expect(fast).toBeGreaterThan(slow)
          else expect(fast).toBe(slow)
        },
      ),
      { numRuns: 40 },
    )
  })
})

test.each([
  ['Mon-Fri 08:00-18:00', 'which zone'],
  ['Mon-Fri 08:00-18:00 Europe/Pariss', 'Europe/Paris'],
  ['Mon-Fry 08:00-18:00 UTC', '`Fry` is no day'],
  ['Mon-Wed-Fri 08:00-18:00 UTC', 'range of days'],
  ['08:00-08:00 UTC', '00:00-24:00'],
  ['08:00-25:00 UTC', 'time of the day'],
  ['24:00-08:00 UTC', 'time of the day'],
  ['08:60-09:00 UTC', 'time of the day'],
  ['08-18 UTC', 'time of the day'],
  ['Mon UTC', 'no times'],
  ['', 'no times'],
  ['Mon 08:00-18:00 UTC please', 'left over'],
])('%j is refused', (text, says) => {
  expect(() => parseWindow(text)).toThrowError(says)
})

test('so many windows that nobody means them are refused', () => {
  expect(() => parseWindows(Array.from({ length: 17 }, () => '08:00-09:00 UTC'))).toThrowError('more than 16')
})
