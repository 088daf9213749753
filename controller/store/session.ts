import { randomUUID } from 'node:crypto'
import { longestTimerMs } from '#relay/timer.ts'
import { usage } from './keys.ts'
import type { Session } from './store.ts'

/** Milliseconds that only grow, whatever happens to the time of day. */
export type Clock = () => number

export interface Sessions {
  open(ttlMs: number): Session
  closeAll(): void
}

/**
 * Sessions of a store that belongs to one process. There is nobody to take over from it, so a renewal writes nothing;
 * it is missed only when this process itself stood still for longer than the time to live.
 */
export function createSessions(clock: Clock): Sessions {
  const live = new Set<() => void>()

  function open(ttlMs: number): Session {
    if (!(ttlMs >= 1)) throw usage(`The session of ${ttlMs} ms is refused`, 'it must live for 1 ms or longer')
    let renewed = clock()
    const { promise: lost, resolve: lose } = Promise.withResolvers<void>()
    const timer = setInterval(renew, Math.min(Math.max(1, ttlMs / 3), longestTimerMs))

    function renew() {
      const now = clock()
      if (now - renewed <= ttlMs) {
        renewed = now
        return
      }
      stop()
      lose()
    }
    function stop() {
      clearInterval(timer)
      live.delete(stop)
    }
    live.add(stop)
    const close = async () => stop()
    return { id: randomUUID(), lost, close, [Symbol.asyncDispose]: close }
  }

  return {
    open,
    closeAll() {
      for (const stop of [...live]) stop()
    },
  }
}
