import type { RelayOnAgent, RelayView } from '#gen/fleetcat/v1/operator.ts'
import type { Relay, RelayLimits, RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { limitMs, toMilliseconds } from '#wire/duration.ts'
import { leaseMs } from '#wire/lease.ts'
import { formatDuration } from '../duration.ts'
import { colourOfState } from '../output/colour.ts'
import type { Presentation } from '../output/print.ts'
import { since, until } from '../output/time.ts'
import { banItem } from './ban-rule.ts'
import { type FlowItem, flowItem } from './flow.ts'
import { type SharingItem, sharingItem } from './sharing.ts'
import { type TargetItem, targetItem } from './target.ts'
import { labelText, problemText, relayState, time } from './words.ts'

/** Only the limits that are set. Durations are text, as files and options take them. */
export interface LimitsItem {
  readonly allowFrom?: readonly string[]
  readonly denyFrom?: readonly string[]
  readonly maxConnections?: number
  readonly ratePerSecond?: number
  readonly idleTimeout?: string
  readonly maxConnectionAge?: string
  /** `20/1m`: a source that was turned away so often in that time is shut out. */
  readonly banAfter?: string
  readonly banFor?: string
}

export interface SpecItem extends FlowItem, SharingItem {
  readonly listen: string
  readonly targets: readonly string[]
  readonly agents: readonly string[]
  readonly selector: string
  readonly limits: LimitsItem
  /** How long an agent that is cut off goes on; the default if absent. */
  readonly lease?: string
  /** How long it runs, from when it was made or from when this was last changed; for ever if absent. */
  readonly ttl?: string
  /** When it is open; always if absent. */
  readonly windows?: readonly string[]
}

export interface AgentOfRelay {
  readonly agent: string
  readonly state: string
  readonly generation: number
  readonly local: readonly string[]
  readonly connections: number
  readonly error: string | null
  readonly lastHeardAt: string | null
  readonly retryAt: string | null
  /** Without another word from the controller it closes there by then. */
  readonly leasedUntil: string | null
  readonly refusals: Readonly<Record<string, number>>
  readonly targets: readonly TargetItem[]
  readonly trace: readonly { readonly at: string | null; readonly state: string }[]
}

export interface RelayItem {
  readonly kind: 'Relay'
  readonly metadata: {
    readonly name: string
    readonly id: string
    readonly generation: number
    readonly labels: Readonly<Record<string, string>>
    readonly createdAt: string | null
    readonly createdBy: string
    readonly reason: string
  }
  readonly spec: SpecItem
  readonly status: {
    readonly state: string
    readonly connections: number
    readonly expiresAt: string | null
    readonly agents: readonly AgentOfRelay[]
  }
}

export function relayItem(view: RelayView): RelayItem {
  return {
    kind: 'Relay',
    metadata: relayMetadata(view.relay),
    spec: specItem(view.relay?.spec),
    status: {
      state: relayState(view.state),
      connections: view.connections,
      expiresAt: time(view.expiresAt),
      agents: view.agents.map(onAgent),
    },
  }
}

function relayMetadata(relay: Relay | undefined): RelayItem['metadata'] {
  return {
    name: relay?.name ?? '',
    id: relay?.id ?? '',
    generation: Number(relay?.generation ?? 0),
    labels: relay?.labels ?? {},
    createdAt: time(relay?.createdAt),
    createdBy: relay?.createdBy ?? '',
    reason: relay?.reason ?? '',
  }
}

export function specItem(spec: RelaySpec | undefined): SpecItem {
  return {
    listen: spec?.listen ?? '',
    targets: spec?.targets ?? [],
    agents: spec?.agents ?? [],
    selector: spec?.selector ?? '',
    limits: limitsItem(spec?.limits),
    ...sharingItem(spec),
    ...flowItem(spec),
    ...(spec?.lease && { lease: formatDuration(leaseMs(spec)) }),
    ...(spec?.windows.length && { windows: spec.windows }),
    ...(spec?.ttl && { ttl: formatDuration(toMilliseconds(spec.ttl)) }),
  }
}

function limitsItem(limits: RelayLimits | undefined): LimitsItem {
  const idle = limitMs(limits?.idleTimeout)
  const age = limitMs(limits?.maxConnectionAge)
  return {
    ...(limits?.allowFrom.length && { allowFrom: limits.allowFrom }),
    ...(limits?.denyFrom.length && { denyFrom: limits.denyFrom }),
    ...(limits?.maxConnections && { maxConnections: limits.maxConnections }),
    ...(limits?.ratePerSecond && { ratePerSecond: limits.ratePerSecond }),
    ...(idle && { idleTimeout: formatDuration(idle) }),
    ...(age && { maxConnectionAge: formatDuration(age) }),
    ...(limits?.ban && banItem(limits.ban)),
  }
}

function onAgent(on: RelayOnAgent): AgentOfRelay {
  const { agent, report, connections, lastHeardAt, state, leasedUntil } = on
  return {
    agent,
    state: relayState(state),
    generation: Number(report?.generation ?? 0),
    local: report?.local ?? [],
    connections,
    error: problemText(report?.problem),
    lastHeardAt: time(lastHeardAt),
    retryAt: time(report?.retryAt),
    leasedUntil: time(leasedUntil),
    refusals: Object.fromEntries(Object.entries(report?.refusals ?? {}).map(([k, n]) => [k, Number(n)])),
    targets: (report?.targets ?? []).map(targetItem),
    trace: (report?.trace ?? []).map(({ at, state }) => ({ at: time(at), state })),
  }
}

const ready = ({ status }: RelayItem) => status.agents.filter(({ state }) => state === 'ready').length

/** Of one that waits for its window also when that opens, on the first of its agents. */
function stateText({ status }: RelayItem, now: number): string {
  if (status.state !== 'pending') return status.state
  const opens = status.agents.flatMap(({ retryAt }) => retryAt ?? []).sort()[0]
  return opens ? `${status.state}, opens in ${until(opens, now)}` : status.state
}

export const relays: Presentation<RelayItem> = {
  listKind: 'RelayList',
  none: 'No relay. Start one: fleetcat create NAME LISTEN TARGET',
  unmatched: 'No relay matches.',
  name: item => `relay/${item.metadata.name}`,
  key: item => item.metadata.id,
  columns: [
    { title: 'NAME', cell: item => item.metadata.name },
    { title: 'AGENTS', cell: item => `${ready(item)}/${item.status.agents.length}`, right: true },
    { title: 'LISTEN', shrinks: true, cell: item => item.spec.listen },
    { title: 'TARGET', shrinks: true, cell: item => item.spec.targets.join(' ') },
    { title: 'CONNS', cell: item => String(item.status.connections), right: true },
    { title: 'EXPIRES', cell: (item, now) => until(item.status.expiresAt, now), right: true },
    {
      title: 'STATE',
      cell: stateText,
      colour: item => colourOfState(item.status.state),
    },
    { title: 'AGE', cell: (item, now) => since(item.metadata.createdAt, now), right: true },
    {
      title: 'LOCAL',
      wide: true,
      cell: item => [...new Set(item.status.agents.flatMap(({ local }) => local))].join(','),
    },
    { title: 'ON', wide: true, cell: item => item.spec.selector || item.spec.agents.join(',') },
    { title: 'LABELS', wide: true, cell: item => labelText(item.metadata.labels) },
    { title: 'ID', wide: true, cell: item => item.metadata.id },
  ],
}
