import type { AgentProbe } from '#gen/fleetcat/v1/operator.ts'
import { ProbeVerdict, type Problem } from '#gen/fleetcat/v1/relay.ts'
import type { Duration } from '#gen/google/protobuf/duration.ts'
import { toMilliseconds } from '#wire/duration.ts'
import type { Colour } from '../output/colour.ts'
import type { Presentation } from '../output/print.ts'
import { probeVerdict, time } from './words.ts'

/** How a target fares as one agent sees it. */
export interface ProbeItem {
  readonly kind: 'Probe'
  readonly agent: string
  readonly target: string
  /** When the answer came. */
  readonly at: string | null
  /** `open`, `refused`, `timed-out`, `silent`, `unresolved`, `tls-error`, `denied`, `failed`, `unreachable`, `unsupported`. */
  readonly verdict: string
  /** The address that was dialled last. */
  readonly ip: string | null
  /** Milliseconds; null where it did not come so far, or there was nothing of the sort to do. */
  readonly resolveMs: number | null
  readonly connectMs: number | null
  readonly tlsMs: number | null
  readonly firstByteMs: number | null
  readonly tookMs: number | null
  /** What went wrong, as one word of a closed list, and as a sentence. */
  readonly code: string | null
  readonly error: string | null
}

/** While there is no answer yet. It is never an answer. */
export const pending = 'pending'

export function probeItem(target: string, { agent, result }: AgentProbe): ProbeItem {
  const { verdict, ip, resolve, connect, tls, firstByte, took, problem } = result ?? {}
  return {
    kind: 'Probe',
    agent,
    target,
    at: time(new Date()),
    verdict: probeVerdict(verdict ?? ProbeVerdict.UNSPECIFIED).replaceAll('_', '-'),
    ip: ip || null,
    resolveMs: milliseconds(resolve),
    connectMs: milliseconds(connect),
    tlsMs: milliseconds(tls),
    firstByteMs: milliseconds(firstByte),
    tookMs: milliseconds(took),
    code: problem?.code ?? null,
    error: problem ? reasonOf(problem) : null,
  }
}

/** One that is asked and has not answered. */
export const pendingItem = (target: string, agent: string): ProbeItem => ({
  ...probeItem(target, { agent, result: undefined }),
  at: null,
  verdict: pending,
})

/** Tenths: what is on the same host answers within one. */
const milliseconds = (span: Duration | undefined) =>
  span ? Math.round(toMilliseconds(span) * 10) / 10 : null

/** What it is about, the target and the agent, the item says already. */
const reasonOf = ({ what, why, fix }: Problem) => [why || what, fix].filter(Boolean).join('. ')

/** As a person reads it. */
const spoken: Record<string, string> = {
  'timed-out': 'timed out',
  'tls-error': 'TLS error',
  denied: 'denied by ceiling',
}

export const verdictText = ({ verdict }: ProbeItem) => spoken[verdict] ?? verdict

/** The agent said something, be it good or bad. */
export const isAnswer = ({ verdict }: Pick<ProbeItem, 'verdict'>) =>
  !['unreachable', 'unsupported', pending].includes(verdict)

export function colourOf(item: ProbeItem): Colour {
  if (item.verdict === 'open') return 'green'
  return isAnswer(item) ? 'red' : 'yellow'
}

const number = (ms: number | null) => (ms === null ? '' : String(ms))

export const probes: Presentation<ProbeItem> = {
  listKind: 'ProbeList',
  none: 'No agent was asked.',
  name: item => `agent/${item.agent}`,
  key: item => item.agent,
  columns: [
    { title: 'AGENT', cell: item => item.agent },
    { title: 'ADDRESS', cell: item => item.ip ?? '' },
    { title: 'RESOLVE-MS', cell: item => number(item.resolveMs), right: true, wide: true },
    { title: 'CONNECT-MS', cell: item => number(item.connectMs), right: true },
    { title: 'TLS-MS', cell: item => number(item.tlsMs), right: true },
    { title: 'BYTE-MS', cell: item => number(item.firstByteMs), right: true },
    { title: 'TOOK-MS', cell: item => number(item.tookMs), right: true, wide: true },
    { title: 'VERDICT', cell: verdictText, colour: colourOf },
    { title: 'WHY', cell: item => item.error ?? '' },
  ],
}
