import type { Channel, EgressPolicy, Endpoint, OpenContext, Step } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { openScope } from '../scope.ts'
import { startTimer } from '../timer.ts'

/** How it went. One target, one word; what else there is to say is in the error. */
export type ProbeVerdict =
  | 'open'
  | 'refused'
  | 'timed-out'
  | 'silent'
  | 'unresolved'
  | 'tls-error'
  | 'denied'
  | 'failed'

export interface Probed {
  readonly verdict: ProbeVerdict
  /** What was dialled last. */
  readonly ip?: string | undefined
  /** Absent where it did not come so far, or there was nothing of the sort to do. */
  readonly resolveMs?: number | undefined
  readonly connectMs?: number | undefined
  readonly tlsMs?: number | undefined
  /** From when it was open. */
  readonly firstByteMs?: number | undefined
  readonly tookMs: number
  /** Why it is not open. */
  readonly error?: RelayError | undefined
}

export interface ProbeTerms {
  /** For all of it. */
  readonly timeoutMs: number
  /** What is open and says nothing is `silent`. */
  readonly expectByte: boolean
  /** Of datagrams: nothing shows whether somebody is there before something is sent. */
  readonly knock: boolean
}

type Stage = 'begun' | Step | 'open'

/**
 * Opens a target once, whatever its address says of further tries, and closes it again. Never rejects; resolves once all
 * is closed. `cx.egress` says what may be opened: its refusals are `denied`, and nobody else's.
 */
export async function probe(
  { address, dialer }: Pick<Endpoint, 'address' | 'dialer'>,
  terms: ProbeTerms,
  cx: Omit<OpenContext, 'progress' | 'retrying'>,
): Promise<Probed> {
  const what = address.text
  const { egress, denials } = remembering(cx.egress)
  const reached: { readonly stage: Stage; readonly at: number }[] = []
  let ip: string | undefined
  const reach = (stage: Stage, dialled?: string) => {
    reached.push({ stage, at: performance.now() })
    ip = dialled ?? ip
  }
  const stageNow = () => reached.at(-1)!.stage
  const first = (wanted: Stage) => reached.find(({ stage }) => stage === wanted)?.at
  const last = (wanted: Stage) => reached.findLast(({ stage }) => stage === wanted)?.at
  reach('begun')

  await using patience = openScope(cx.signal)
  const { signal } = patience
  const late = () => (terms.knock && stageNow() === 'open' ? unanswered : lateAt[stageNow()].why)
  const stopTimer = startTimer(terms.timeoutMs, () => {
    patience.abort(new RelayError('timed-out', { what, why: `${late()} within ${terms.timeoutMs} ms` }))
  })
  let firstByteMs: number | undefined
  let error: RelayError | undefined
  try {
    const retrying = patience.abort
    await using channel = await dialer!.dial({ ...cx, signal, egress, retrying, progress: reach })
    reach('open')
    // It may be reset at any moment, and an error that nobody hears ends the process.
    channel.stream.on('error', () => {})
    if (terms.knock) channel.stream.write(Buffer.alloc(0))
    if (terms.knock || terms.expectByte) {
      await firstByte(channel, signal, what)
      firstByteMs = spent(last('open'), performance.now())
    }
  } catch (thrown) {
    error = RelayError.from(signal.aborted ? signal.reason : thrown, what)
  } finally {
    stopTimer()
  }
  const isSecured = last('secured') !== undefined
  const failed = (why: RelayError) => (denials.has(why) ? 'denied' : verdictOf(why, stageNow(), isSecured))
  return {
    verdict: error ? failed(error) : 'open',
    ip,
    resolveMs: spent(first('resolving'), first('dialling')),
    // Of several addresses of a name, the one that was dialled last.
    connectMs: spent(last('dialling'), last('connected')),
    tlsMs: spent(last('securing'), last('secured')),
    firstByteMs,
    tookMs: performance.now() - first('begun')!,
    error,
  }
}

/** Nothing where it did not come so far, or only before it began once more. */
function spent(since: number | undefined, until: number | undefined): number | undefined {
  return since === undefined || until === undefined || until < since ? undefined : until - since
}

/** What it is called when time was over at this stage, and why. */
const lateAt: Record<Stage, { readonly verdict: ProbeVerdict; readonly why: string }> = {
  begun: { verdict: 'timed-out', why: 'no answer' },
  resolving: { verdict: 'unresolved', why: 'the resolver did not answer' },
  dialling: { verdict: 'timed-out', why: 'no answer' },
  connected: { verdict: 'timed-out', why: 'what was connected did not open the way to the target' },
  securing: { verdict: 'silent', why: 'it is connected, and did not answer the TLS handshake' },
  secured: { verdict: 'silent', why: 'it is connected, and said nothing' },
  open: { verdict: 'silent', why: 'it is connected, and said nothing' },
}

const unanswered = 'an empty datagram was sent, and neither an answer nor a refusal came back'

function verdictOf({ code }: RelayError, stage: Stage, isSecured: boolean): ProbeVerdict {
  if (code === 'timed-out') return lateAt[stage].verdict
  if (code === 'closed') return 'failed'
  if (stage === 'securing') return 'tls-error'
  // A server that wants to know its clients says so when the handshake is over.
  if (code === 'unauthenticated' && isSecured) return 'tls-error'
  return code === 'refused' || code === 'unresolved' ? code : 'failed'
}

/** The same policy, with a memory of its refusals: others say no with the same code, the kernel for one. */
function remembering(policy: EgressPolicy) {
  const denials = new Set<unknown>()
  const told = (check: () => void) => {
    try {
      check()
    } catch (denial) {
      denials.add(denial)
      throw denial
    }
  }
  const egress: EgressPolicy = {
    check: (address, ip) => told(() => policy.check(address, ip)),
    checkForbidden: address => told(() => policy.checkForbidden?.(address)),
    checkLed: (address, led) => told(() => policy.checkLed?.(address, led)),
    checkBeyond: address => told(() => policy.checkBeyond?.(address)),
  }
  return { egress, denials }
}

/** Resolves with the first that comes; of datagrams an empty one counts. */
function firstByte({ stream, framing }: Channel, signal: AbortSignal, what: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = () => reject(signal.reason)
  const why = framing === 'datagram' ? 'it was closed' : 'it closed the connection without a byte'
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  if (stream.errored) reject(stream.errored)
  stream.once('data', () => resolve()).on('error', reject)
  for (const end of ['end', 'close']) stream.once(end, () => reject(new RelayError('reset', { what, why })))
  stream.resume()
  return promise.finally(() => signal.removeEventListener('abort', onAbort))
}
