import { longestTimerMs } from '../timer.ts'
import type { Stages } from './through.ts'

/** What was not sent may be made up for, if it is no longer ago than this: timers come late. */
const burstMs = 100
/** How much is sent at once: little enough that the other side sees a flow and no thrusts. */
const sliceMs = 20

/**
 * Lets through so many bytes a second and no more, with `whole` whole chunks only. `mayPass` is asked each time; when it
 * says no, nothing more will be. What was granted is paid for before more is, so in the long run the rate is exact.
 */
export function throttle(
  bytesPerSecond: number,
  whole: boolean,
  mayPass: () => boolean,
): NonNullable<Stages['pace']> {
  const slice = Math.max(1, Math.floor((bytesPerSecond * sliceMs) / 1_000))
  let paidAt = -Infinity
  return left => {
    const now = performance.now()
    if (paidAt > now) return { waitMs: Math.ceil(paidAt - now) }
    if (!mayPass()) return { waitMs: longestTimerMs }
    const bytes = whole ? left : Math.min(left, slice)
    paidAt = Math.max(paidAt, now - burstMs) + (bytes * 1_000) / bytesPerSecond
    return { bytes }
  }
}
