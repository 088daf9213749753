import { longestTimerMs } from '#relay/timer.ts'
import type { Caller } from './access.ts'
import type { Mirror } from './mirror.ts'

/**
 * A call that lasts is let in once, and its caller may be revoked, replaced or expire while it lasts. This looks again
 * whenever the caller's row changes and when the certificate ends, and says once why the call must end.
 */
export function watchStanding(
  mirror: Mirror,
  caller: Caller,
  admit: () => unknown,
  lost: (thrown: unknown) => void,
): Disposable {
  let timer = setTimeout(expire, untilExpiry())

  function untilExpiry(): number {
    return Math.min(Math.max(caller.expiresAt.getTime() - Date.now(), 0), longestTimerMs)
  }

  function expire(): void {
    if (untilExpiry() === 0) look()
    else timer = setTimeout(expire, untilExpiry())
  }

  function look(): void {
    try {
      admit()
    } catch (thrown) {
      stop()
      lost(thrown)
    }
  }

  const stopListening = mirror.onChange(({ everything, agents, operators }) => {
    if (everything || (caller.kind === 'agent' ? agents : operators).includes(caller.name)) look()
  })

  function stop(): void {
    clearTimeout(timer)
    stopListening()
  }
  return { [Symbol.dispose]: stop }
}
