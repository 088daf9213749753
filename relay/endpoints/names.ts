import { lookup as systemLookup } from 'node:dns/promises'
import type { Lookup, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { startTimer } from '../timer.ts'

/** Names that are being asked for at a time. */
const mostAtOnce = 64

const inFlight = new Map<string, ReturnType<Lookup>>()

/**
 * The system's resolver, with one question a name at a time: it knows no cancelling, and works on a few questions at
 * once, so that connections which each asked for a name that nobody answers would keep every other name waiting.
 */
const ask: Lookup = name => {
  const asked = inFlight.get(name)
  if (asked) return asked
  if (inFlight.size >= mostAtOnce) {
    const why = `${inFlight.size} other names wait for the resolver`
    return Promise.reject(
      new RelayError('exhausted', { what: name, why, fix: 'See to the resolver of this host' }),
    )
  }
  const answer = systemLookup(name, { all: true, order: 'verbatim' }).finally(() => inFlight.delete(name))
  inFlight.set(name, answer)
  return answer
}

/** What this name means is not the resolver's to say: who listens on it was permitted as somebody on loopback. */
const loopback = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]

/** Resolves a name within a time and until the wait is called off: the system's resolver knows neither. */
export async function lookUp(host: string, cx: OpenContext, timeoutMs: number, what: string) {
  if (/^localhost\.?$/i.test(host)) return loopback
  cx.progress?.('resolving')
  const lookup = cx.lookup ?? ask
  const { promise: stopped, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(RelayError.from(cx.signal.reason, what))
  const why = `the resolver did not answer for ${host} within ${Math.round(timeoutMs)} ms`
  const stopTimer = startTimer(timeoutMs, () => reject(new RelayError('timed-out', { what, why })))
  cx.signal.addEventListener('abort', onAbort)
  if (cx.signal.aborted) onAbort()
  try {
    return await Promise.race([lookup(host), stopped])
  } catch (error) {
    throw RelayError.from(error, what)
  } finally {
    stopTimer()
    cx.signal.removeEventListener('abort', onAbort)
  }
}
