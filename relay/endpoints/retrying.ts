import { setTimeout as sleep } from 'node:timers/promises'
import { RelayError } from '../errors.ts'
import type { retryOptions } from '../option-groups.ts'
import type { OptionValues } from '../options.ts'
import { longestTimerMs } from '../timer.ts'

/** Opens something as often as the address's `retry`, `interval` and `forever` say. The last failure is thrown. */
export async function retrying<T>(
  { retry = 0, interval = 1_000, forever = false }: OptionValues<readonly [typeof retryOptions]>,
  signal: AbortSignal,
  open: () => Promise<T>,
): Promise<T> {
  for (let left = forever ? Infinity : retry; ; left--) {
    try {
      return await open()
    } catch (error) {
      if (left <= 0 || signal.aborted || !worthAnotherTry(error)) throw error
    }
    await sleep(Math.min(interval, longestTimerMs), undefined, { signal }).catch(() => {
      throw RelayError.from(signal.reason, 'the wait for another try')
    })
  }
}

/** A rule that says no, or words that are wrong, will not be better in a second. */
function worthAnotherTry(error: unknown): boolean {
  return !(error instanceof RelayError && ['denied', 'usage', 'unsupported'].includes(error.code))
}
