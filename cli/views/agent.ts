import type { AgentView } from '#gen/fleetcat/v1/operator.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { colourOfState } from '../output/colour.ts'
import type { Presentation } from '../output/print.ts'
import { since, until } from '../output/time.ts'
import { agentState, labelText, time } from './words.ts'

export interface AgentItem {
  readonly kind: 'Agent'
  readonly metadata: {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    /** What the agent says of itself. */
    readonly hostLabels: Readonly<Record<string, string>>
    readonly enrolledAt: string | null
  }
  readonly status: {
    readonly state: string
    readonly relays: number
    readonly connections: number
    readonly version: string
    readonly certificateExpiresAt: string | null
    readonly lastHeardAt: string | null
    readonly clockAheadMs: number | null
    readonly peer: string
    readonly bootId: string
    readonly capabilities: readonly string[]
  }
}

export function agentItem(view: AgentView): AgentItem {
  return {
    kind: 'Agent',
    metadata: {
      name: view.name,
      labels: view.labels,
      hostLabels: view.hostLabels,
      enrolledAt: time(view.enrolledAt),
    },
    status: {
      state: agentState(view.state),
      relays: view.relays,
      connections: view.connections,
      version: view.version,
      certificateExpiresAt: time(view.certificateExpiresAt),
      lastHeardAt: time(view.lastHeardAt),
      clockAheadMs: view.clockAhead ? toMilliseconds(view.clockAhead) : null,
      peer: view.peer,
      bootId: view.bootId,
      capabilities: view.capabilities,
    },
  }
}

/** An unreachable agent's figures are its last words, so their age belongs to them. */
export function agentStateText({ status }: AgentItem, now: number): string {
  if (status.state !== 'unreachable' || !status.lastHeardAt) return status.state
  return `unreachable for ${since(status.lastHeardAt, now)}`
}

export const agents: Presentation<AgentItem> = {
  listKind: 'AgentList',
  none: 'No agent. Let one in: fleetcat token create agent',
  unmatched: 'No agent matches.',
  name: item => `agent/${item.metadata.name}`,
  key: item => item.metadata.name,
  columns: [
    { title: 'NAME', cell: item => item.metadata.name },
    { title: 'LABELS', shrinks: true, cell: item => labelText(item.metadata.labels) },
    { title: 'STATE', cell: agentStateText, colour: item => colourOfState(item.status.state) },
    { title: 'RELAYS', cell: item => String(item.status.relays), right: true },
    { title: 'CONNS', cell: item => String(item.status.connections), right: true },
    { title: 'VERSION', cell: item => item.status.version },
    {
      title: 'CERT-EXPIRES',
      cell: (item, now) => until(item.status.certificateExpiresAt, now),
      right: true,
    },
    { title: 'PEER', wide: true, cell: item => item.status.peer },
    { title: 'HOST-LABELS', wide: true, cell: item => labelText(item.metadata.hostLabels) },
    {
      title: 'LAST-HEARD',
      wide: true,
      cell: (item, now) => since(item.status.lastHeardAt, now),
      right: true,
    },
  ],
}
