import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'
import { alwaysDenied, canonicalIp, contains, parseCidr } from '#relay/ip.ts'

test.each<[string, string | undefined]>([
  ['127.0.0.1', '127.0.0.1'],
  ['127.1', '127.0.0.1'],
  ['10.258', '10.0.1.2'],
  ['0x7f.1', '127.0.0.1'],
  ['0X7F000001', '127.0.0.1'],
  ['2130706433', '127.0.0.1'],
  ['017700000001', '127.0.0.1'],
  ['0177.0.0.01', '127.0.0.1'],
  ['0', '0.0.0.0'],
  ['4294967295', '255.255.255.255'],
  ['::ffff:127.0.0.1', '127.0.0.1'],
  ['::FFFF:7f00:1', '127.0.0.1'],
  ['[::ffff:a9fe:a9fe]', '169.254.169.254'],
  ['[::1]', '::1'],
  ['2001:DB8:0:0::1', '2001:db8::1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['4294967296', undefined],
  ['256.1.1.1', undefined],
  ['1.2.3.4.5', undefined],
  ['089.1', undefined],
  ['1.2.3.', undefined],
  ['localhost', undefined],
  ['face', undefined],
  ['::1::', undefined],
  ['', undefined],
])('%s is %s', (text, ip) => {
  expect(canonicalIp(text)).toBe(ip)
})

test.each([
  ['10.0.0.0/8', '10.0.0.0/8'],
  ['10.0.0.0:255.0.0.0', '10.0.0.0/8'],
  ['10.1.2.3', '10.1.2.3/32'],
  ['[::1]', '::1/128'],
  ['[2001:db8::]/32', '2001:db8::/32'],
  ['[2001:db8::/32]', '2001:db8::/32'],
  ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['::/0', '::/0'],
])('the network %s is %s', (text, canonical) => {
  expect(parseCidr(text).text).toBe(canonical)
})

test.each([
  '',
  'a',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/',
  '10.0.0.1/8',
  '::1/64',
  '10.0.0.0:255.0.255.0',
  '[::1',
  '1/2/3',
])('the network %j is refused', text => {
  expect(() => parseCidr(text)).toThrow(RelayError)
})

test('a network contains what shares its prefix, in whatever spelling', () => {
  const net = parseCidr('10.0.0.0/9')
  for (const ip of ['10.0.0.1', '10.127.255.255', '::ffff:10.0.0.1', '0xa.1'])
    expect(contains(net, ip)).toBe(true)
  for (const ip of ['10.128.0.0', '11.0.0.1', '::1', 'localhost', '::']) expect(contains(net, ip)).toBe(false)
  expect(contains(parseCidr('::/0'), '10.0.0.1')).toBe(false)
})

test('a network of any length contains its own address and not the neighbour beyond it', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.integer({ min: 1, max: 32 }), (ip, bits) => {
      const number = ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
      const size = 2 ** (32 - bits)
      const base = Math.floor(number / size) * size
      const net = parseCidr(`${base}/${bits}`)
      expect(contains(net, ip)).toBe(true)
      expect(contains(net, String((base + size) % 2 ** 32))).toBe(false)
    }),
  )
})

test.each([
  '169.254.169.254',
  '0xa9fea9fe',
  '::ffff:169.254.169.254',
  '64:ff9b::a9fe:a9fe',
  '2002:a9fe:a9fe::1',
  '::a9fe:a9fe',
  'fe80::1%eth0',
  '0.0.0.0',
  '0',
  '::',
  '::ffff:0.0.0.0',
  '64:ff9b::',
  'fd00:ec2::254',
])('%s is always denied', ip => {
  expect(alwaysDenied(ip)).toBeTypeOf('string')
})

test.each([
  '127.0.0.1',
  '::1',
  '10.0.0.1',
  '169.253.0.1',
  '2001:db8::1',
  'fd00:ec2::253',
  '64:ff9b::0808:0808',
  'localhost',
])('%s is left to the ceiling', ip => {
  expect(alwaysDenied(ip)).toBeUndefined()
})

test('no text makes it throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'0123456789abcdefx.:%/[]') }), text => {
      const ip = canonicalIp(text)
      if (ip !== undefined) expect(canonicalIp(ip)).toBe(ip)
      alwaysDenied(text)
    }),
    { numRuns: 3_000 },
  )
})
