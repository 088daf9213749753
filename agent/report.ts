import {
  Health,
  type RelayReport,
  RelayState as StateMessage,
  type TargetReport,
} from '#gen/fleetcat/v1/relay.ts'
import type { ErrorCode, RelayError } from '#relay/errors.ts'
import type { RelayState, RunningRelay, TargetStatus } from '#relay/relay.ts'
import { toProblem } from '#wire/problem.ts'

export interface RelayFacts {
  readonly relayId: string
  readonly generation: bigint
  readonly running: RunningRelay | undefined
  /** Why it does not run here at all. */
  readonly refused: RelayError | undefined
  /** When it runs by itself, if only the time of day keeps it from that. */
  readonly opensAt: Date | undefined
  readonly refusals: ReadonlyMap<string, number>
}

/** How a relay fares here, in the words of the wire. */
export function toReport({
  relayId,
  generation,
  running,
  refused,
  opensAt,
  refusals,
}: RelayFacts): RelayReport {
  return {
    relayId,
    generation,
    local: [],
    problem: undefined,
    retryAt: undefined,
    ...(refused
      ? { ...ended(refused), retryAt: opensAt }
      : running
        ? stateOf(running.state)
        : { state: StateMessage.PENDING }),
    targets: running?.targets.slice(0, mostTargets).map(toTargetReport) ?? [],
    trace: running?.trace.map(({ at, state }) => ({ at, state })) ?? [],
    refusals: Object.fromEntries([...refusals].map(([cause, count]) => [cause, BigInt(count)])),
  }
}

/** Of one relay: more would make a report that fits no controller. */
const mostTargets = 256

const healths = { unknown: Health.UNSPECIFIED, up: Health.UP, down: Health.DOWN } as const

function toTargetReport(target: TargetStatus): TargetReport {
  const { address, health, since, error, connections, total, failures } = target
  return {
    address,
    health: healths[health],
    since,
    problem: error && toProblem(error),
    connections,
    total: BigInt(total),
    failures: BigInt(failures),
  }
}

function stateOf(state: RelayState): Pick<RelayReport, 'state'> & Partial<RelayReport> {
  switch (state.name) {
    case 'pending':
      return { state: StateMessage.PENDING }
    case 'ready':
      return { state: StateMessage.READY, local: [...state.local] }
    case 'rejected':
      return { state: StateMessage.REJECTED, problem: toProblem(state.error), retryAt: state.retryAt }
    case 'done':
      return { state: StateMessage.DONE }
    case 'closed':
      return ended(state.reason)
  }
}

const stateByCode: Partial<Record<ErrorCode, StateMessage>> = {
  revoked: StateMessage.REVOKED,
  lapsed: StateMessage.LAPSED,
  expired: StateMessage.EXPIRED,
  'out-of-hours': StateMessage.PENDING,
}

function ended(why: RelayError): Pick<RelayReport, 'state' | 'problem'> {
  return { state: stateByCode[why.code] ?? StateMessage.REJECTED, problem: toProblem(why) }
}
