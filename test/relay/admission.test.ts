import { expect, test } from 'vitest'
import { openAdmission } from '#relay/admission.ts'
import { parseCidr } from '#relay/ip.ts'

test('without rules everybody is welcome', () => {
  const admission = openAdmission({}, {})
  expect(admission.refusal('203.0.113.7', 1_000_000)).toBeUndefined()
  expect(admission.refusal(undefined, 0)).toBeUndefined()
})

test('`range` and `allow` of the address add up, and `deny` wins', () => {
  const range = [parseCidr('10.0.0.0/8')]
  const allow = [parseCidr('192.168.0.0/16')]
  const deny = [parseCidr('10.66.0.0/16')]
  const admission = openAdmission({ range, allow, deny }, {})
  expect(admission.sourceRefusal('10.1.2.3')).toBeUndefined()
  expect(admission.sourceRefusal('192.168.1.1')).toBeUndefined()
  expect(admission.sourceRefusal('172.16.0.1')).toBe('range')
  expect(admission.sourceRefusal('10.66.0.1')).toBe('denied-source')
})

test('the lists of the relay narrow those of the address and never widen them', () => {
  const range = [parseCidr('10.0.0.0/8')]
  const admission = openAdmission(
    { range },
    { allowFrom: ['10.1.0.0/16', '172.16.0.0/12'], denyFrom: ['10.1.9.9'] },
  )
  expect(admission.sourceRefusal('10.1.2.3')).toBeUndefined()
  expect(admission.sourceRefusal('10.2.0.1')).toBe('not-allowed-source')
  expect(admission.sourceRefusal('172.16.0.1')).toBe('range')
  expect(admission.sourceRefusal('10.1.9.9')).toBe('denied-source')
})

test('a source without an IP passes no allow list', () => {
  expect(openAdmission({}, { denyFrom: ['10.0.0.0/8'] }).refusal(undefined, 0)).toBeUndefined()
  expect(openAdmission({}, { allowFrom: ['10.0.0.0/8'] }).refusal(undefined, 0)).toBe('not-allowed-source')
})

test('the cap counts those that live', () => {
  const admission = openAdmission({}, { maxConnections: 2 })
  expect(admission.refusal('10.0.0.1', 1)).toBeUndefined()
  expect(admission.refusal('10.0.0.1', 2)).toBe('max-connections')
  expect(openAdmission({}, { maxConnections: 0 }).refusal('10.0.0.1', 0)).toBe('max-connections')
})

test('the rate allows a burst of one second, then its pace', () => {
  let now = 0
  const admission = openAdmission({}, { ratePerSecond: 5 }, { now: () => now })
  const welcome = (arrivals: number) =>
    Array.from({ length: arrivals }, () => admission.refusal('10.0.0.1', 0)).filter(cause => !cause).length
  expect(welcome(100)).toBe(5)
  now = 200
  expect(welcome(100)).toBe(1)
  now = 60_000
  expect(welcome(100)).toBe(5)
  expect(admission.refusal('10.0.0.1', 0)).toBe('rate')
})

test('less than one connection a second is a rate too', () => {
  let now = 0
  const admission = openAdmission({}, { ratePerSecond: 0.5 }, { now: () => now })
  expect(admission.refusal('10.0.0.1', 0)).toBeUndefined()
  now = 1_999
  expect(admission.refusal('10.0.0.1', 0)).toBe('rate')
  now = 2_001
  expect(admission.refusal('10.0.0.1', 0)).toBeUndefined()
})

test('a busy source does not use up the rate of the others', () => {
  const admission = openAdmission({}, { ratePerSecond: 10, sourceRatePerSecond: 2 }, { now: () => 0 })
  const causes = Array.from({ length: 50 }, () => admission.refusal('10.0.0.1', 0))
  expect(causes.filter(cause => !cause)).toHaveLength(2)
  expect(causes.at(-1)).toBe('source-rate')
  expect(admission.refusal('10.0.0.2', 0)).toBeUndefined()
})

test('an IPv6 source is a network of 64 bits', () => {
  const admission = openAdmission({}, { sourceRatePerSecond: 1 }, { now: () => 0 })
  expect(admission.refusal('2001:db8:0:1::1', 0)).toBeUndefined()
  expect(admission.refusal('2001:db8:0:1:a:b:c:d', 0)).toBe('source-rate')
  expect(admission.refusal('2001:db8:0:2::1', 0)).toBeUndefined()
  expect(admission.refusal('2001:db8::1', 0)).toBeUndefined()
})

test('the table of sources is bounded: who was quiet longest is forgotten', () => {
  const admission = openAdmission({}, { sourceRatePerSecond: 1 }, { now: () => 0 })
  const source = (i: number) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
  for (let i = 0; i < 100_000; i++) admission.refusal(source(i), 0)
  expect(admission.refusal(source(99_999), 0)).toBe('source-rate')
  expect(admission.refusal(source(0), 0)).toBeUndefined()
})

test('an update names those whose source is no longer allowed', () => {
  const admission = openAdmission({}, {})
  const live = ['10.0.0.1', '10.0.0.2', '192.168.0.1'].map(sourceIp => ({ sourceIp }))
  expect(admission.update({ allowFrom: ['10.0.0.0/8'], denyFrom: ['10.0.0.2'] }, live)).toEqual(live.slice(1))
  expect(admission.refusal('192.168.0.1', 0)).toBe('not-allowed-source')
})

test('an update with a bad network changes nothing', () => {
  const admission = openAdmission({}, { denyFrom: ['10.0.0.0/8'] })
  expect(() => admission.update({ allowFrom: ['nonsense'] }, [])).toThrowError(
    /neither an IP address nor a CIDR/,
  )
  expect(admission.refusal('10.0.0.1', 0)).toBe('denied-source')
})
