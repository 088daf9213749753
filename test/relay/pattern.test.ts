import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAddress } from '#relay/address.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { matches, namesExactly, parsePattern, patternFor } from '#relay/pattern.ts'

const permits = (pattern: string, scope: string, ip?: string) =>
  matches(parsePattern(pattern), parseAddress(scope), ip)
const forbids = (pattern: string, scope: string, ip?: string) =>
  matches(parsePattern(pattern), parseAddress(scope), ip, 'forbid')

describe('a permit', () => {
  test.each([
    ['TCP-LISTEN:127.0.0.1:*', 'TCP4-LISTEN:127.0.0.1:8080', 'yes'],
    ['TCP-LISTEN:127.0.0.1:*', 'TCP-LISTEN:127.0.0.1:8080', 'yes'],
    ['TCP4-LISTEN:127.0.0.1:*', 'TCP-LISTEN:127.0.0.1:8080', 'no'],
    ['tcp-l:127.0.0.1:*', 'TCP6-LISTEN:127.0.0.1:8080', 'yes'],
    ['TCP-LISTEN:127.0.0.1:*', 'TCP-LISTEN:0.0.0.0:8080', 'no'],
    ['TCP-LISTEN:10.0.0.0/8:8000-8999', 'TCP4-LISTEN:10.1.2.3:8999', 'yes'],
    ['TCP-LISTEN:10.0.0.0/8:8000-8999', 'TCP4-LISTEN:10.1.2.3:9000', 'no'],
    ['TCP-LISTEN:10.0.0.0/8:8000-8999', 'TCP4-LISTEN:0.0.0.0:8000', 'no'],
    ['TCP-LISTEN:[::1]:*', 'TCP6-LISTEN:[::1]:80', 'yes'],
    ['TCP:*:*', 'TCP4:example:80', 'yes'],
    ['TCP:*:https', 'TCP4:example:443', 'yes'],
    ['TCP:*:*', 'TCP-LISTEN:127.0.0.1:80', 'no'],
    ['TCP:*.example.com:443', 'TCP:a.b.EXAMPLE.com.:443', 'yes'],
    ['TCP:*.example.com:443', 'TCP:example.com:443', 'no'],
    ['TCP:*.example.com:443', 'TCP:evilexample.com:443', 'no'],
    ['TCP:10.0.0.0/8:*', 'TCP:0xa000001:80', 'yes'],
    ['TCP:10.0.0.0/8:*', 'TCP:[::ffff:10.0.0.1]:80', 'yes'],
    ['TCP:10.0.0.0/8:*', 'TCP:db:80', 'by-address'],
    ['TCP:10.0.0.0/8:81', 'TCP:db:80', 'no'],
    ['TCP:[2001:db8::]/32:*', 'TCP6:[2001:db8::1]:80', 'yes'],
    ['UNIX-CONNECT:/var/run/postgresql/*', 'UNIX-CONNECT:/var/run/postgresql/.s.PGSQL.5432', 'yes'],
    ['UNIX-CONNECT:/var/run/*', 'UNIX-CONNECT:/var/run/postgresql/x', 'no'],
    ['SERIAL:/dev/ttyUSB*', 'SERIAL:/dev/ttyUSB0', 'yes'],
    ['OPEN:/var/log/app/**,rdonly', 'OPEN:/var/log/app/a/b.log,rdonly', 'yes'],
    ['OPEN:/var/log/app/**,rdonly', 'OPEN:/var/log/app/a/b.log', 'no'],
    ['OPEN:/var/log/app/**', 'OPEN:/var/log/app/a/b.log,rdonly', 'yes'],
    ['OPEN:/var/log/app/**', 'OPEN:/var/log/app/../../../etc/passwd', 'no'],
    ['OPEN:/log/**,append,creat', 'OPEN:/log/a,append', 'yes'],
    ['OPEN:/log/**,append,creat', 'GOPEN:/log/a,append,creat', 'yes'],
    ['OPEN:/log/**,append,creat', 'OPEN:/log/a,creat', 'no'],
    ['OPEN:/log/**,append', 'OPEN:/log/a,append,creat', 'no'],
    ['OPEN:/log/**', 'OPEN:/log/a,wronly', 'yes'],
    ['OPEN:/log/**', 'CREATE:/log/a,wronly,creat', 'no'],
    ['OPEN:/log/**', 'OPEN:/log/a,unlink-early', 'no'],
    ['OPEN:/log/**,creat', 'OPEN:/log/a,creat,mode=777', 'no'],
    ['CREATE:/log/**', 'CREATE:/log/a,wronly,creat', 'yes'],
    ['CREATE:/log/**', 'OPEN:/log/a,wronly', 'no'],
    ['GOPEN:/log/**', 'GOPEN:/log/a,append', 'yes'],
    ['EXEC:/usr/bin/uptime', 'EXEC:/usr/bin/uptime', 'yes'],
    ['EXEC:/usr/bin/uptime', 'EXEC:/usr/bin/uptime -p', 'no'],
    ['EXEC:/usr/bin/uptime', 'EXEC:/usr/bin/uptime,user=root', 'no'],
    ['EXEC:/usr/bin/uptime,user=app*', 'EXEC:/usr/bin/uptime,user=app1', 'yes'],
    ['EXEC:"/bin/cat /var/log/*"', 'EXEC:"/bin/cat /var/log/.."', 'no'],
    ['HEALTH', 'HEALTH', 'yes'],
    ['TCP:*:*', '@db-1/TCP:a:80', 'no'],
    ['@db-*/TCP:*:*', '@db-1/TCP:a:80', 'yes'],
    ['@db-*/TCP:*:*', '@web-1/TCP:a:80', 'no'],
    ['@*/TCP:*:*', 'TCP:a:80', 'no'],
  ])('%s for %s: %s', (pattern, scope, verdict) => {
    expect(permits(pattern, scope)).toBe(verdict)
  })

  test('a name is judged by the address that it resolved to', () => {
    expect(permits('TCP:10.0.0.0/8:*', 'TCP:db:80', '10.0.0.1')).toBe('yes')
    expect(permits('TCP:10.0.0.0/8:*', 'TCP:db:80', '11.0.0.1')).toBe('no')
  })
})

describe('a forbid errs on the other side', () => {
  test.each([
    ['TCP:10.66.0.0/16:*', 'TCP4:10.66.1.1:80', 'yes'],
    ['TCP4:10.66.0.0/16:*', 'TCP:10.66.1.1:80', 'yes'],
    ['TCP4:10.66.0.0/16:*', 'TCP6:db:80', 'no'],
    ['TCP:10.66.0.0/16:*', 'TCP:db:80', 'by-address'],
    ['TCP:10.66.0.0/16:*', 'TCP:[64:ff9b::a42:101]:80', 'yes'],
    ['TCP-LISTEN:10.66.0.1:*', 'TCP-LISTEN:0.0.0.0:80', 'yes'],
    ['TCP-LISTEN:10.66.0.1:*', 'TCP6-LISTEN:[::]:80', 'yes'],
    ['TCP-LISTEN:10.66.0.1:*', 'TCP-LISTEN:10.66.0.2:80', 'no'],
    ['EXEC:/usr/bin/uptime', 'EXEC:/usr/bin/uptime,user=root', 'yes'],
    ['OPEN:/etc/**', 'OPEN:/var/../etc/passwd', 'yes'],
    ['OPEN:/etc/**', 'CREATE:/etc/passwd,wronly,creat', 'yes'],
    ['OPEN:/etc/**,rdonly', 'OPEN:/etc/passwd', 'yes'],
    ['OPEN:/etc/**,rdonly', 'OPEN:/etc/passwd,wronly', 'no'],
    ['OPEN:/etc/**,append', 'GOPEN:/etc/passwd,wronly', 'yes'],
    ['OPEN:/etc/**,wronly', 'HTTP-FILE:/etc/passwd,rdonly', 'no'],
    ['GOPEN:/etc/**', 'OPEN:/etc/passwd', 'yes'],
    ['OPEN:/etc/*', 'OPEN:/etc//passwd', 'yes'],
  ])('%s for %s: %s', (pattern, scope, verdict) => {
    expect(forbids(pattern, scope)).toBe(verdict)
  })
})

test('only a pattern of one address names it exactly', () => {
  expect(namesExactly(parsePattern('TCP:169.254.169.254:80'), '169.254.169.254')).toBe(true)
  expect(namesExactly(parsePattern('TCP:169.254.0.0/16:80'), '169.254.169.254')).toBe(false)
  expect(namesExactly(parsePattern('TCP:*:80'), '169.254.169.254')).toBe(false)
})

test.each([
  ['TCP:*', 'it has 1 of 2 parts after the keyword. Write e.g. `TCP:*:*`'],
  ['TCP-LISTEN:80', 'it has 1 of 2 parts after the keyword. Write e.g. `TCP-LISTEN:*:*`'],
  ['TCP:*:9-8', '`9-8` is no port or range of ports. Write e.g. `8080`, `8000-8999` or `*`'],
  [
    'TCP:10.*:80',
    '`10.*` is no host. Write `*`, an IP, a network like `10.0.0.0/8`, or a name like `*.example.com`',
  ],
  ['TCP:10.0.0.0/40:80', '`40` is no prefix length. Write a number from 0 to 32'],
  ['TPC:*:*', 'there is no kind of address called `TPC`. Did you mean `TCP`?'],
  ['TCP:*:*,fork', 'a pattern for TCP has no options: it covers them all. Remove the comma and what follows'],
  [
    'OPEN:/log/*,sync',
    '`sync` makes no difference to what OPEN may do. Remove it: a line for OPEN may have rdonly',
  ],
  ['EXEC', 'EXEC has an argument. Write e.g. `EXEC:**` for any'],
])('the pattern %s is refused', (pattern, message) => {
  expect(() => parsePattern(pattern)).toThrow(RelayError)
  expect(() => parsePattern(pattern)).toThrow(message)
})

test.each([
  'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
  'TCP-LISTEN:8080',
  'TCP6-LISTEN:8080',
  'TCP:[::1]:80',
  'TCP:example.com:https',
  '@db-1/TCP4:127.0.0.1:5432',
])('the line that permits %s does, and can be read', address => {
  const { scope } = bindAddress(address)
  expect(matches(parsePattern(patternFor(scope)), scope)).toBe('yes')
})

test('the line for a path permits that path and no other, whatever its characters', () => {
  const path = fc.string({ unit: fc.constantFrom(...'ab*\\/,:!\'"([])é ') }).map(text => `/${text}`)
  fc.assert(
    fc.property(path, path, (one, other) => {
      const scope = { keyword: 'OPEN', args: [one], options: [], text: '' }
      const pattern = parsePattern(patternFor(scope))
      expect(matches(pattern, scope)).toBe('yes')
      expect(matches(pattern, { ...scope, args: [other] })).toBe(one === other ? 'yes' : 'no')
    }),
    { numRuns: 1_000 },
  )
})

test('a malicious pattern of stars costs little time', () => {
  const pattern = parsePattern(`OPEN:/${'*a**b'.repeat(100)}`)
  const started = performance.now()
  matches(pattern, { keyword: 'OPEN', args: [`/${'ab'.repeat(2_000)}c`], options: [], text: '' })
  expect(performance.now() - started).toBeLessThan(2_000)
})
