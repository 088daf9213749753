import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import type { retryOptions } from '../option-groups.ts'
import type { OptionValues } from '../options.ts'
import { longestTimerMs } from '../timer.ts'

/** An address may ask for a thousand tries a second; nobody wants to hear of each. */
const tellEveryMs = 1_000

/**
 * Opens something as often as the address's `retry`, `interval` and `forever` say. The last failure is thrown; of those
 * before it the context is told.
 */
export async function retrying<T>(
  { retry = 0, interval = 1_000, forever = false }: OptionValues<readonly [typeof retryOptions]>,
  { signal, retrying: tell }: Pick<OpenContext, 'signal' | 'retrying'>,
  open: () => Promise<T>,
): Promise<T> {
  const waitMs = Math.min(interval, longestTimerMs)
  let toldAt = -Infinity
  for (let left = forever ? Infinity : retry; ; left--) {
    try {
      return await open()
    } catch (error) {
      if (left <= 0 || signal.aborted || !worthAnotherTry(error)) throw error
      if (performance.now() - toldAt >= tellEveryMs) {
        toldAt = performance.now()
        tell?.(RelayError.from(error, 'the opening'), new Date(Date.now() + waitMs))
      }
    }
    await sleep(waitMs, undefined, { signal }).catch(() => {
      throw RelayError.from(signal.reason, 'the wait for another try')
    })
  }
}

/** A rule that says no, or words that are wrong, will not be better in a second. */
function worthAnotherTry(error: unknown): boolean {
  return !(error instanceof RelayError && ['denied', 'usage', 'unsupported'].includes(error.code))
}
