import { setTimeout as sleep } from 'node:timers/promises'
import { RelayError } from '../errors.ts'
import { released } from './locks.ts'
import { rdevOf } from './rdev.ts'

/** Those who wait for a device, by its `rdev`, in the order in which they came. */
const lines = new Map<number, (() => void)[]>()

/** A program outside of this process leaves without a word, so it is looked at so often whether it has. */
const lookEveryMs = 250

/**
 * Takes a port as soon as nobody else has it, and for so long tries no more than the one who came first. Rejects as
 * `take` does: at once, unless others have the port, and then when the time is over.
 */
export async function inLine<T>(
  path: string,
  waitMs: number,
  signal: AbortSignal,
  take: () => Promise<T>,
): Promise<T> {
  // At once: of two who come one behind the other the second could otherwise be the first to know it.
  const rdev = waitMs === 0 ? undefined : rdevOf(path)
  if (rdev === undefined) return take()
  const deadline = performance.now() + waitMs
  const line = lines.get(rdev) ?? []
  lines.set(rdev, line)
  const { promise: turn, resolve: mine } = Promise.withResolvers<void>()
  line.push(mine)
  if (line[0] === mine) mine()
  const pause = async (until: Promise<unknown> | undefined, ms: number) => {
    // Else a turn that comes at once would leave the timer behind, for a day perhaps.
    const enough = new AbortController()
    const either = AbortSignal.any([signal, enough.signal])
    const waited = sleep(ms, undefined, { signal: either, ref: false }).catch(() => {})
    await Promise.race([waited, ...(until ? [until] : [])])
    enough.abort()
    if (signal.aborted) throw RelayError.from(signal.reason, path)
  }
  try {
    // Whose time is over tries once, and then the error says who has it.
    await pause(turn, waitMs)
    for (;;) {
      const gone = released(rdev)
      try {
        return await take()
      } catch (thrown) {
        const isTaken = thrown instanceof RelayError && thrown.code === 'conflict'
        const leftMs = deadline - performance.now()
        if (!isTaken || leftMs <= 0) throw thrown
        await pause(gone, Math.min(lookEveryMs, leftMs))
      }
    }
  } finally {
    line.splice(line.indexOf(mine), 1)
    line[0]?.()
    if (line.length === 0) lines.delete(rdev)
  }
}
