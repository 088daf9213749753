import type { IncomingMessage } from 'node:http'
import type { Channel, Endpoint, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { openScope } from '../scope.ts'
import { startTimer } from '../timer.ts'
import type { HealthCheck } from './health-check.ts'

/** One look at a target. Resolves with what is wrong with it, or with nothing, once all is closed. Never rejects. */
export async function check(
  { address, dialer }: Endpoint,
  { http, timeoutMs }: Pick<HealthCheck, 'http' | 'timeoutMs'>,
  cx: OpenContext,
): Promise<RelayError | undefined> {
  const what = `the health check of ${address.text}`
  await using patience = openScope(cx.signal)
  const { signal } = patience
  let failure: RelayError | undefined
  const stopTimer = startTimer(timeoutMs, () => {
    const why = failure?.message ?? `no answer within ${timeoutMs} ms`
    patience.abort(new RelayError('timed-out', { what, why }))
  })
  const retrying = (error: RelayError) => {
    failure = error
  }
  try {
    await using channel = await dialer!.dial({ ...cx, signal, retrying })
    // It may be reset at any moment, and an error that nobody hears ends the process.
    channel.stream.on('error', () => {})
    if (http === undefined) return undefined
    const status = await ask(channel, { path: http, host: hostOf(address) }, signal)
    if (status >= 200 && status < 400) return undefined
    return new RelayError('unavailable', { what, why: `it answered HTTP ${status}` })
  } catch (thrown) {
    return explained(signal.aborted ? signal.reason : thrown, what)
  } finally {
    stopTimer()
  }
}

/** The last two arguments of what has a host are that and its port. */
const hostOf = ({ args }: Endpoint['address']) => args.at(-2) ?? 'localhost'

/** The status of the answer to a GET. Whatever comes after it is not read. */
async function ask(
  channel: Channel,
  { path, host }: { path: string; host: string },
  signal: AbortSignal,
): Promise<number> {
  // Most relays check nothing.
  const { request } = await import('node:http')
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const onAbort = () => {
    channel.abort(signal.reason)
    reject(signal.reason)
  }
  signal.addEventListener('abort', onAbort)
  const headers = { host, 'user-agent': 'fleetcat-health', accept: '*/*' }
  const asked = request({ path, headers, createConnection: () => channel.stream })
  asked.once('socket', stream => stream.resume())
  asked.once('response', ({ statusCode = 0 }: IncomingMessage) => {
    resolve(statusCode)
    asked.destroy()
  })
  asked.on('error', reject)
  asked.end()
  return await promise.finally(() => signal.removeEventListener('abort', onAbort))
}

function explained(thrown: unknown, what: string): RelayError {
  const { code } = thrown as NodeJS.ErrnoException
  if (!String(code).startsWith('HPE_')) return RelayError.from(thrown, what)
  return new RelayError('unavailable', { what, why: 'it does not answer in HTTP', cause: thrown })
}
