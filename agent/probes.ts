import type { ProbeAnswer, ProbeOrder } from '#gen/fleetcat/v1/agent.ts'
import { type ProbeResult, ProbeVerdict } from '#gen/fleetcat/v1/relay.ts'
import type { Endpoint, OpenContext } from '#relay/endpoint.ts'
import { bindProbed, kindOf } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openScope } from '#relay/scope.ts'
import { type Probed, probe } from '#relay/targets/probe.ts'
import type { Logger } from '#telemetry/log.ts'
import { limitMs, toDuration } from '#wire/duration.ts'
import { longestProbeMs } from '#wire/probe.ts'
import { toProblem } from '#wire/problem.ts'
import type { Ceiling } from './ceiling.ts'

export interface ProbesContext extends Pick<OpenContext, 'lookup'> {
  readonly ceiling: Ceiling
  readonly log: Logger
}

/** What operators have this host try. Each is opened once, inside the ceiling, and closed again. */
export interface Probes extends AsyncDisposable {
  /** Never rejects: what is wrong is the answer. */
  run(order: ProbeOrder): Promise<ProbeAnswer>
}

const mostAtOnce = 32
/** What opens the target gives up a little later than the probe, which is to say what it was at. */
const laterMs = 100

export function openProbes({ ceiling, log, ...more }: ProbesContext): Probes {
  const scope = openScope()
  const running = new Set<Promise<unknown>>()

  async function look(order: ProbeOrder): Promise<Probed> {
    const { address, expectByte } = order
    if (running.size >= mostAtOnce) {
      const why = `${mostAtOnce} probes run there already`
      return unopened(
        'failed',
        new RelayError('exhausted', { what: address, why, fix: 'Try again in a moment' }),
      )
    }
    const timeoutMs = Math.min(limitMs(order.timeout) ?? longestProbeMs, longestProbeMs)
    let endpoint: Endpoint
    try {
      endpoint = bindProbed(address, timeoutMs + laterMs)
    } catch (thrown) {
      return unopened('failed', RelayError.from(thrown, address))
    }
    try {
      ceiling.checkTarget(endpoint)
    } catch (thrown) {
      return unopened('denied', RelayError.from(thrown, address))
    }
    const knock = kindOf(endpoint.address.keyword)?.knockable ?? false
    const terms = { timeoutMs, expectByte, knock }
    return await probe(endpoint, terms, { ...more, signal: scope.signal, egress: ceiling })
  }

  return {
    async run(order) {
      const { probeId, address, by } = order
      const looking = look(order).catch(thrown => unopened('failed', RelayError.from(thrown, address)))
      running.add(looking)
      const probed = await looking
      running.delete(looking)
      const { verdict, ip, error } = probed
      const about = { event: 'probed', probe: probeId, by, address, ip, verdict, why: error?.message }
      log.info(about, 'a target was probed for an operator')
      return { probeId, result: toResult(probed) }
    },
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]()
      await Promise.all(running)
    },
  }
}

const unopened = (verdict: Probed['verdict'], error: RelayError): Probed => ({ verdict, tookMs: 0, error })

const verdicts: Record<Probed['verdict'], ProbeVerdict> = {
  open: ProbeVerdict.OPEN,
  refused: ProbeVerdict.REFUSED,
  'timed-out': ProbeVerdict.TIMED_OUT,
  silent: ProbeVerdict.SILENT,
  unresolved: ProbeVerdict.UNRESOLVED,
  'tls-error': ProbeVerdict.TLS_ERROR,
  denied: ProbeVerdict.DENIED,
  failed: ProbeVerdict.FAILED,
}

function toResult({
  verdict,
  ip,
  resolveMs,
  connectMs,
  tlsMs,
  firstByteMs,
  tookMs,
  error,
}: Probed): ProbeResult {
  const span = (ms: number | undefined) => (ms === undefined ? undefined : toDuration(ms))
  return {
    verdict: verdicts[verdict],
    ip: ip ?? '',
    resolve: span(resolveMs),
    connect: span(connectMs),
    tls: span(tlsMs),
    firstByte: span(firstByteMs),
    took: span(tookMs),
    problem: error && toProblem(error),
  }
}
