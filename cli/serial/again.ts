import { setTimeout as pause } from 'node:timers/promises'
import { RelayError } from '#relay/errors.ts'

/** These will not be otherwise for the next connection. */
const lasting: ReadonlySet<string> = new Set([
  ...['usage', 'denied', 'unauthenticated', 'revoked', 'unsupported', 'expired'],
])
const firstPauseMs = 250
const longestPauseMs = 5_000

/** Nobody can wait for this to pass. */
export const isLasting = ({ code }: RelayError): boolean => lasting.has(code)

/** Connects anew as soon as that can be. Rejects with what lasts, and when the signal is aborted. */
export async function connectAgain<T>(
  connect: () => Promise<T>,
  what: string,
  told: (text: string) => void,
  signal: AbortSignal,
): Promise<T> {
  let before = ''
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    await pause(pauseMs, undefined, { signal })
    try {
      return await connect()
    } catch (thrown) {
      const error = RelayError.from(thrown, what).within(what)
      if (signal.aborted || isLasting(error)) throw error
      // Once for each reason: it may last all night.
      if (error.message !== before) told(`not yet: ${error.message}`)
      before = error.message
    }
  }
}
