import { setTimeout as sleep } from 'node:timers/promises'
import type { LineCalls } from './line-calls.ts'

/** How long what was written may take to be sent on closing, as long as it gets less. */
const stuckMs = 500
const longestDrainMs = 10_000
const lookEveryMs = 10

/** Resolves when all is sent, or when it gets no less: a line that the other side has stopped may never be. */
export async function drained({ unsent }: LineCalls): Promise<void> {
  const deadline = performance.now() + longestDrainMs
  let left = Infinity
  let lessAt = performance.now()
  for (;;) {
    let now: number
    try {
      now = unsent()
    } catch {
      return
    }
    if (now === 0) return
    if (now < left) lessAt = performance.now()
    left = now
    if (performance.now() > deadline || performance.now() - lessAt > stuckMs) return
    await sleep(lookEveryMs)
  }
}
