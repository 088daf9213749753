import { afterEach, beforeEach, expect, test } from 'vitest'
import { readSince } from '#cli/serial/since.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'

const { TZ } = process.env
beforeEach(() => {
  process.env.TZ = 'Asia/Tokyo'
})
afterEach(() => {
  if (TZ === undefined) delete process.env.TZ
  else process.env.TZ = TZ
})

/** In Tokyo it is the 29th already. */
const now = new Date('2026-11-28T20:00:00Z')

test.each([
  ['2h', '7200000ms'],
  ['1h30m', '5400000ms'],
  ['2026-11-29', '2026-11-28T15:00:00.000Z'],
  ['2026-11-29T10:00', '2026-11-29T01:00:00.000Z'],
  ['2026-11-29T10:00:01.5', '2026-11-29T01:00:01.500Z'],
  ['2026-11-29T10:00Z', '2026-11-29T10:00:00.000Z'],
  ['2026-11-29T10:00+01:00', '2026-11-29T09:00:00.000Z'],
  ['03:00', '2026-11-28T18:00:00.000Z'],
])('since %s is a moment of whoever says it, and %s for a host', (text, since) => {
  expect(readSince(text, now)).toBe(since)
  expect(() => bindTarget(`@lab-1/SERIAL-LOG:/dev/x,since=${since.replaceAll(':', '\\:')}`)).not.toThrow()
})

test.each([
  ['5', /it has no unit. Write 5s/],
  ['0.5x', /not a duration/],
  ['yesterday', /neither a duration nor a time.*10:00 \(today\), 2026-11-29, 2026-11-29T10:00/],
  ['25:00', /neither|not a duration/],
  ['2026-13-01', /neither|not a duration/],
  ['2h,follow', /not a duration/],
])('since %s is refused, in forms that can be typed', (text, message) => {
  let refused: unknown
  try {
    readSince(text, now)
  } catch (thrown) {
    refused = thrown
  }
  const error = RelayError.from(refused, text)
  expect(error.code).toBe('usage')
  expect(error.message).toMatch(message)
  expect(error.message).not.toContain('\\')
})
