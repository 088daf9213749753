import { startTimer } from '../timer.ts'
import type { SerialControl } from './control.ts'
import type { LineSettings } from './port.ts'

/** Ports whose settings somebody may change who goes again, with how they were before the first of them came. */
const kept = new Map<string, { users: number; readonly before: Required<LineSettings> }>()

/** A driver may wait for its device; nobody waits longer than this for the driver. */
const patienceMs = 1_000

/** Remembers how a line is set. The last one who gives it back, by the function that is returned, sets it so again. */
export function keepSettings(line: SerialControl): () => Promise<void> {
  const { path } = line
  const entry = kept.get(path) ?? { users: 0, before: { ...line.settings } }
  entry.users++
  kept.set(path, entry)
  return async () => {
    if (--entry.users > 0) return
    kept.delete(path)
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const stopWaiting = startTimer(patienceMs, resolve)
    const set = line.set(entry.before).then(
      () => {},
      // Who closes the device sets it back too, and one that has gone has nothing to be set.
      () => {},
    )
    await Promise.race([set, late])
    stopWaiting()
  }
}
