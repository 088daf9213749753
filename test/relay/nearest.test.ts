import { expect, test } from 'vitest'
import { nearest } from '#relay/nearest.ts'

test.each([
  ['frok', 'fork'],
  ['TCP4-LISEN', 'tcp4-listen'],
  ['kepalive', 'keepalive'],
  ['xyzzy', undefined],
  ['', undefined],
  ['a'.repeat(10_000), undefined],
])('near %s is %s', (word, near) => {
  expect(nearest(word, ['keepalive', 'fork', 'tcp4-listen'])).toBe(near)
})
