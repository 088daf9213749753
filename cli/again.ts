import { setTimeout as pause } from 'node:timers/promises'
import { failureOf } from '#wire/failure.ts'

/**
 * Does something again and again, from start to start; never two at a time. Ends by Ctrl-C, or with a failure that will
 * not pass; of one that may, it tells, and goes on.
 */
export async function again(
  everyMs: number,
  act: () => Promise<void>,
  tell: (text: string) => void,
): Promise<never> {
  let dueAt = performance.now() + everyMs
  for (;;) {
    await pause(Math.max(0, dueAt - performance.now()))
    // What was missed is not made up for: it would come all at once.
    dueAt = Math.max(dueAt, performance.now() - everyMs) + everyMs
    try {
      await act()
    } catch (thrown) {
      const error = failureOf(thrown, 'the next round')
      if (!passing.includes(error.code)) throw thrown
      tell(error.message)
    }
  }
}

/** Nobody there now, or too much at once; agents that match may come, too. */
const passing: readonly string[] = ['unavailable', 'timed-out', 'exhausted', 'not-found']
