import { expect, test } from 'vitest'
import { openCrowd, sourceOf } from '#controller/crowd.ts'

test.each([
  ['10.0.0.7', '10.0.0.7'],
  ['::ffff:10.0.0.7', '10.0.0.7'],
  ['2001:db8:0:7::1', '2001:db8:0:7::/64'],
  ['2001:db8:0:7:ffff:1:2:3', '2001:db8:0:7::/64'],
  ['2001:db8::7:0:0:1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['1::', '1:0:0:0::/64'],
])('%s comes from %s', (address, source) => {
  expect(sourceOf(address)).toBe(source)
})

test('an address that is gone already is a source of its own', () => {
  expect(sourceOf(undefined)).toBe('')
})

test('the fullest source comes first, each in the order of arrival', () => {
  const crowd = openCrowd<string>()
  for (const [source, guest] of ['a1', 'b1', 'b2', 'c1', 'b3', 'c2'].map(each => [each[0]!, each] as const))
    crowd.add(source, guest)
  const shown = () => [...crowd.bySource()].map(guests => [...guests].join(' '))
  expect(shown()).toEqual(['b1 b2 b3', 'c1 c2', 'a1'])
  for (const guest of ['b1', 'b3', 'a1']) expect(crowd.delete(guest)).toBe(true)
  expect(crowd.delete('a1')).toBe(false)
  expect(shown()).toEqual(['c1 c2', 'b2'])
  expect(crowd.size).toBe(3)
})
