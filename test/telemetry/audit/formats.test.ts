import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cef } from '#telemetry/audit/cef.ts'
import {
  type AuditEntry,
  type AuditRecord,
  decodeRecord,
  encodeRecord,
  outcomes,
} from '#telemetry/audit/record.ts'
import { rfc5424 } from '#telemetry/audit/rfc5424.ts'
import { sanitise } from '#telemetry/sanitise.ts'

const nasty = fc.constantFrom(
  '\r\n',
  '\u001b[31m',
  '\u202e',
  '\u2028',
  '"',
  '\\',
  ']',
  '|',
  '=',
  '%',
  '\ufeff',
  'é',
  '😀',
  '\ud800',
)
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(nasty).map(parts => parts.join('x')),
)
const record: fc.Arbitrary<AuditRecord> = fc.record({
  event: text,
  outcome: fc.constantFrom(...outcomes),
  by: text,
  from: fc.oneof(text, fc.constantFrom('', '10.0.0.7:4000', '[2001:db8::1]:4000', '2001:db8::1:4000')),
  target: text,
  reason: text,
  words: text,
  details: fc.dictionary(text, fc.oneof(text, fc.array(text), fc.boolean(), fc.integer(), fc.constant(null))),
})
const origin = { cluster: 'fleet-1', version: '0.1.0' }
const entry: fc.Arbitrary<AuditEntry> = record.map(each => ({
  ...each,
  seq: 7n,
  at: new Date(1_700_000_000_123),
  hash: 'ab'.repeat(32),
}))
const hostile = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

test('a record has one encoding, which reads back, and nothing in it is hostile', () => {
  fc.assert(
    fc.property(record, given => {
      const bytes = encodeRecord(given)
      const shuffled = Object.fromEntries(Object.entries(given.details).reverse())
      expect(encodeRecord({ ...given, details: shuffled })).toEqual(bytes)
      expect(JSON.parse(Buffer.from(bytes).toString())).toEqual(decodeRecord(bytes))
      expect(Buffer.from(bytes).toString()).not.toMatch(hostile)
      expect(decodeRecord(bytes)).toMatchObject({ outcome: given.outcome, event: sanitise(given.event) })
    }),
  )
})

test('a record that is too long for a row leaves its details out, and bytes of others are told as such', () => {
  const long = { ...decodeRecord(Buffer.from('{}')), details: { many: Array(1_000).fill('x'.repeat(100)) } }
  const bytes = encodeRecord(long)
  expect(bytes.byteLength).toBeLessThan(16_384)
  expect(decodeRecord(bytes).details).toEqual({ leftOut: true })
  for (const other of ['', '7', 'null', '[]', '{"details":7}', '\u0000'])
    expect(decodeRecord(Buffer.from(other))).toMatchObject({ outcome: 'alert', details: {} })
})

test('an RFC 5424 message reads back to what was written, by the grammar of the RFC', () => {
  fc.assert(
    fc.property(entry, given => {
      const { header, params, message } = parseSyslog(rfc5424(given, origin))
      expect(header).toMatchObject({
        version: '1',
        time: '2023-11-14T22:13:20.123Z',
        host: 'fleet-1',
        app: 'fleetcat',
      })
      const safe = (value: string) => sanitise(value, 65_536)
      const { event, outcome, by, from, target, reason, words, hash } = given
      const { details = '', ...rest } = params
      expect(rest).toEqual(
        Object.fromEntries(
          Object.entries({ seq: '7', event, outcome, by, from, target, reason, hash }).map(
            ([name, value]) => [name, safe(value)],
          ),
        ),
      )
      expect(details).toBe(Object.keys(given.details).length === 0 ? '' : safe(JSON.stringify(given.details)))
      expect(message).toBe(sanitise(words))
    }),
  )
})

test('a CEF line reads back to what was written', () => {
  fc.assert(
    fc.property(entry, given => {
      const { head, extension } = parseCef(cef(given, origin))
      expect(head.slice(0, 6)).toEqual([
        'CEF:0',
        'fleetcat',
        'fleetcat',
        '0.1.0',
        sanitise(given.event, 65_536),
        sanitise(given.words, 65_536),
      ])
      const value = (text: string) => (text === '' ? undefined : sanitise(text, 65_536))
      expect(extension).toMatchObject({ rt: '1700000000123', externalId: '7', outcome: given.outcome })
      expect(extension.suser).toBe(value(given.by))
      expect(extension.cs1).toBe(value(given.target))
      expect(extension.reason).toBe(value(given.reason))
    }),
  )
})

test('where a call came from is an IPv4 or an IPv6 address for CEF', () => {
  const of = (from: string) =>
    parseCef(cef({ ...decodeRecord(Buffer.from('{}')), from, seq: 1n, at: new Date(0), hash: '' }, origin))
      .extension
  expect(of('10.0.0.7:4000')).toMatchObject({ src: '10.0.0.7', spt: '4000' })
  expect(of('2001:db8::1:4000')).toMatchObject({ c6a2: '2001:db8::1', spt: '4000' })
  expect(of('[2001:db8::1]:4000')).toMatchObject({ c6a2: '2001:db8::1', spt: '4000' })
  expect(of('')).not.toHaveProperty('spt')
})

/** Only what the grammar of RFC 5424 allows. */
function parseSyslog(text: string) {
  const found =
    /^<(\d{1,3})>(1) ([!-~]+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) \[([!-<>-\\^-~]{1,32})((?: [!-<>-\\^-~]{1,32}="(?:\\["\\\]]|[^"\\\]])*")*)\] \ufeff(.*)$/su.exec(
      text,
    )
  if (!found) throw new Error(`no message of RFC 5424: ${JSON.stringify(text)}`)
  expect(text.replace('\ufeff', '')).not.toMatch(hostile)
  const [, priority, version, time, host, app, , , , data = '', message] = found
  const pairs = [...data.matchAll(/ ([^=]+)="((?:\\["\\\]]|[^"\\\]])*)"/gsu)]
  const params: Record<string, string> = Object.fromEntries(
    pairs.map(([, name, value = '']) => [name, value.replace(/\\(["\\\]])/g, '$1')]),
  )
  return { header: { priority, version, time, host, app }, params, message }
}

function parseCef(text: string) {
  expect(text).not.toMatch(hostile)
  const head: string[] = []
  let rest = text
  for (let i = 0; i < 7; i++) {
    const [whole, field = ''] = /^((?:\\[\\|]|[^\\|])*)\|/su.exec(rest) ?? []
    if (whole === undefined) throw new Error(`no header of CEF: ${JSON.stringify(text)}`)
    head.push(field.replace(/\\([\\|])/g, '$1'))
    rest = rest.slice(whole.length)
  }
  const pairs = [...rest.matchAll(/(?:^| )([A-Za-z0-9]+)=((?:\\[\\=]|[^\\=])*?)(?=(?: [A-Za-z0-9]+=)|$)/gsu)]
  expect(pairs.map(([whole]) => whole).join('')).toBe(rest)
  const extension: Record<string, string> = Object.fromEntries(
    pairs.map(([, name, value = '']) => [name, value.replace(/\\([\\=])/g, '$1')]),
  )
  return { head, extension }
}
