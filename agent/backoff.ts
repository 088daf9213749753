import { setTimeout as delay } from 'node:timers/promises'
import { longestTimerMs } from '#relay/timer.ts'

export interface Backoff {
  /** How long to wait before the next try. The first answer after a reset is 0. */
  next(): number
  reset(): void
}

/** Full jitter: any time between nothing and a ceiling that doubles, so that a fleet that lost its controller does not return as one. */
export function openBackoff({ baseMs, capMs }: { baseMs: number; capMs: number }): Backoff {
  let tries = 0
  return {
    next() {
      const ceiling = tries === 0 ? 0 : Math.min(capMs, baseMs * 2 ** Math.min(tries - 1, 30))
      tries++
      return Math.random() * ceiling
    },
    reset() {
      tries = 0
    },
  }
}

/** Waits, or returns early when the signal is aborted: whoever waits looks at the signal next. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.min(ms, longestTimerMs), undefined, { signal }).catch(() => {})
}
