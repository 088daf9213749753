import fc from 'fast-check'
import { expect, test } from 'vitest'
import { logTo } from '#telemetry/log.ts'

/** Everything that could reorder, recolour, hide or split a line. */
const hostileLine = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
const hostile = 'a\r\nb\u001b[31mc\u0085d\u009b2Je\u202ef\u2028g\u200bh\ud800i\u007fj'

function openTestLog() {
  const lines: string[] = []
  const log = logTo({ write: line => void lines.push(line) }, 'test', 'trace')
  return { log, lines }
}

/** A reader that shows the decoded text must be as safe as one that shows the line. */
function expectHarmless(lines: readonly string[]) {
  expect(lines.length).toBeGreaterThan(0)
  for (const line of lines) {
    expect(line.endsWith('\n')).toBe(true)
    expect(line.slice(0, -1)).not.toMatch(hostileLine)
    JSON.parse(line, (name, value) => {
      expect(name).not.toMatch(hostileLine)
      if (typeof value === 'string') expect(value).not.toMatch(hostileLine)
      return value
    })
  }
}

test('what a peer chose is harmless wherever it stands in a line', () => {
  const { log, lines } = openTestLog()
  log.info({ peer: hostile }, 'field')
  log.info({ [hostile]: 1 }, 'name of a field')
  log.info({ deep: { list: [hostile, { [hostile]: hostile }] } }, 'deep')
  log.info({ error: new Error(hostile) }, 'error')
  log.info({ error: Object.assign(new Error('x'), { code: hostile }) }, 'code')
  log.info({ err: Object.assign(new Error('x'), { name: hostile }) }, 'name')
  log.info(hostile)
  log.info('%s and %o', hostile, { a: hostile })
  log.error(new Error(hostile))
  log.error(new Error(hostile), hostile)
  log.child({ peer: hostile }).info('bound')
  expect(lines).toHaveLength(11)
  expectHarmless(lines)
})

test('no text whatever makes a second line or a control character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      const { log, lines } = openTestLog()
      log.info({ text, [text]: { text } }, text)
      expect(lines).toHaveLength(1)
      expectHarmless(lines)
    }),
  )
})

test('a long text is cut', () => {
  const { log, lines } = openTestLog()
  log.info({ text: 'x'.repeat(1_000_000) }, 'y'.repeat(1_000_000))
  expect(lines[0]!.length).toBeLessThan(6_000)
})

test('secrets do not reach a line, however deep they lie', () => {
  const { log, lines } = openTestLog()
  const pem = '-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----'
  log.info({ secret: 'CANARY', token: 'CANARY', key: 'CANARY' }, 'top')
  log.info({ a: { b: { c: { secret: 'CANARY', keyPem: 'CANARY' } } } }, 'deep')
  log.info({ list: [{ token: 'CANARY' }] }, 'list')
  log.info({ bytes: Buffer.from('CANARY'), also: new Uint8Array(Buffer.from('CANARY')) }, 'bytes')
  log.info({ text: 'join with fcat1_CANARY now', pem }, `fcat1_CANARY ${pem}`)
  log.info({ error: new Error('bad token fcat1_CANARY') }, 'error')
  log.info('%s', 'fcat1_CANARY')
  expect(lines.join('')).not.toContain('CANARY')
  expect(lines.join('')).not.toContain(Buffer.from('CANARY').join(','))
  expect(lines[0]).toContain('[hidden]')
})

test('a line says when, how grave, by which program, and what', () => {
  const { log, lines } = openTestLog()
  log.warn({ event: 'x.y', rev: 7n, at: new Date(0) }, 'said')
  expect(JSON.parse(lines[0]!)).toEqual({
    level: 'warn',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    program: 'test',
    event: 'x.y',
    rev: '7',
    at: '1970-01-01T00:00:00.000Z',
    msg: 'said',
  })
})
