import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'

const cancelled = () => {
  const controller = new AbortController()
  controller.abort()
  return controller.signal
}

test.each([
  ['a limit of time', () => sleep(10_000, undefined, { signal: AbortSignal.timeout(1) }), 'closed'],
  ['the reason of a limit of time', () => Promise.reject(AbortSignal.abort(timeout()).reason), 'timed-out'],
  ['the reason of a bare abort', () => Promise.reject(cancelled().reason), 'closed'],
  ['an aborted wait', () => sleep(10_000, undefined, { signal: cancelled() }), 'closed'],
  ['an errno', () => readFile('/no/such/file'), 'not-found'],
  ['anything else', () => Promise.reject(new TypeError('x is not a function')), 'internal'],
] as const)('%s becomes an error of ours: %s', async (_, act, code) => {
  const thrown = await act().catch((error: unknown) => error)
  expect(RelayError.from(thrown, 'the act')).toMatchObject({ code, what: 'the act' })
})

function timeout(): DOMException {
  return new DOMException('The operation was aborted due to timeout', 'TimeoutError')
}
