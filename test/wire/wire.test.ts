import { readFile } from 'node:fs/promises'
import { Metadata, type ServiceError } from '@grpc/grpc-js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { IdentityError } from '#identity/errors.ts'
import { errorCodes, RelayError } from '#relay/errors.ts'
import { limitMs, toDuration, toMilliseconds } from '#wire/duration.ts'
import { failureOf } from '#wire/failure.ts'
import { checkLabel, parseLabel } from '#wire/labels.ts'
import { fromStatus, toStatus } from '#wire/status.ts'
import { version } from '#wire/version.ts'

function failure(parts: Partial<ServiceError>): ServiceError {
  return Object.assign(new Error('x'), {
    code: 2,
    details: '',
    metadata: new Metadata(),
    ...parts,
  }) as ServiceError
}

describe('an error', () => {
  test.each(errorCodes)('%s arrives with its three parts', code => {
    const error = new RelayError(code, { what: 'relay/web', why: 'because', fix: 'Do something' })
    expect(fromStatus(failure(toStatus(error)), 'a call')).toMatchObject({
      code,
      what: 'relay/web',
      why: 'because',
      fix: 'Do something',
    })
  })

  test('that quotes a megabyte still fits into the headers of an answer', () => {
    const { details, metadata } = toStatus(
      new RelayError('usage', { what: 'x'.repeat(2 ** 20), why: 'é'.repeat(2 ** 20) }),
    )
    const bytes = metadata!.get('fleetcat-problem-bin')[0] as Buffer
    expect(details!.length + bytes.length).toBeLessThan(12_000)
  })

  test.each([
    [12, 'unsupported'],
    [14, 'unavailable'],
    [4, 'timed-out'],
    [16, 'unauthenticated'],
    [13, 'internal'],
  ])('of gRPC itself, %i, is %s and says what was tried', (code, ours) => {
    expect(fromStatus(failure({ code }), 'list the relays')).toMatchObject({
      code: ours,
      what: 'list the relays',
    })
  })

  test('with bytes that are no problem of ours is read by its status', () => {
    const metadata = new Metadata()
    metadata.set('fleetcat-problem-bin', Buffer.from([0xff, 0xff, 0xff]))
    expect(fromStatus(failure({ code: 5, metadata }), 'x')).toMatchObject({ code: 'not-found' })
  })

  test('of a socket says what the socket said', () => {
    const details =
      'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:7443. Resolution note: '
    expect(fromStatus(failure({ code: 14, details }), 'x').why).toBe('nothing listens at 127.0.0.1:7443')
  })

  test('of identity keeps its words', () => {
    const error = new IdentityError('expired', { what: 'a', why: 'b', fix: 'c' })
    expect(failureOf(error, 'x')).toMatchObject({ code: 'unauthenticated', what: 'a', why: 'b', fix: 'c' })
  })
})

describe('a duration', () => {
  test('keeps its milliseconds, and its nanoseconds stay below a second', () => {
    fc.assert(
      fc.property(fc.double({ min: -1e12, max: 1e12, noNaN: true }), ms => {
        const duration = toDuration(ms)
        expect(Math.abs(duration.nanos)).toBeLessThan(1e9)
        expect(Math.abs(toMilliseconds(duration) - ms)).toBeLessThan(0.001)
      }),
    )
    expect(toDuration(999.9999999)).toEqual({ seconds: 1n, nanos: 0 })
  })

  test('absent, zero and negative are no limit', () => {
    expect([
      limitMs(undefined),
      limitMs(toDuration(0)),
      limitMs(toDuration(-1)),
      limitMs(toDuration(1.5)),
    ]).toEqual([undefined, undefined, undefined, 1.5])
  })
})

describe('a label', () => {
  test.each([
    ['site=paris', ['site', 'paris']],
    ['a=', ['a', '']],
    ['a.b/c-d=x_y', ['a.b/c-d', 'x_y']],
  ])('%s is read', (text, wanted) => expect(parseLabel(text)).toEqual(wanted))

  test.each([
    'site',
    '=x',
    'a b=c',
    'a=b c',
    'a=b=c',
    '-a=b',
    'a=-b',
    `${'x'.repeat(64)}=y`,
    `a=${'x'.repeat(64)}`,
    'a=\u001b',
  ])('%j is refused', text =>
    expect(() => parseLabel(text)).toThrow(expect.objectContaining({ code: 'usage' })),
  )

  test('in the name of the host is only the host’s to give', () => {
    expect(() => checkLabel('host.os', 'linux')).toThrow(expect.objectContaining({ code: 'usage' }))
    checkLabel('host.os', 'linux', { host: true })
  })
})

test('the version is that of the package', async () => {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  expect(version).toBe((JSON.parse(text) as { version: string }).version)
})
