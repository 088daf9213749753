import {
  AgentState,
  type AgentView,
  type ConnectionFilter,
  type ConnectionView,
  type RelayFilter,
  type RelayOnAgent,
  type RelayView,
  type RevocationView,
} from '#gen/fleetcat/v1/operator.ts'
import { type Relay, RelayState, type Revocation, type Verdict, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { contains, parseCidr } from '#relay/ip.ts'
import { toDuration } from '#wire/duration.ts'
import { connectionsByRelay, type Host, type Hosts } from './hosts.ts'
import { idleByNow } from './idleness.ts'
import type { Mirror } from './mirror.ts'
import type { Placement } from './placement.ts'
import { parseSelector } from './selector.ts'

/** What a list shows: the desired state beside what the agents last said, and never one for the other. */
export interface Views {
  relays(filter: RelayFilter | undefined): RelayView[]
  relay(relay: Relay): RelayView
  agents(selector: string, name?: string): AgentView[]
  connections(filter: ConnectionFilter | undefined): ConnectionView[]
  revocation(revocation: Revocation): RevocationView
}

export function openViews({
  mirror,
  hosts,
  placement,
}: {
  mirror: Mirror
  hosts: Hosts
  placement: Placement
}): Views {
  function onAgent(relay: Relay, agent: string, connections: number): RelayOnAgent {
    const host = hosts.get(agent)
    const report = host?.reports.get(relay.id)
    const lastHeardAt = host?.lastHeardAt ?? seenAt(agent)
    return { agent, report, connections, lastHeardAt, state: stateOn(relay, host, report) }
  }

  function stateOn(relay: Relay, host: Host | undefined, report: RelayOnAgent['report']): RelayState {
    if (!host?.session) return RelayState.UNREACHABLE
    // What the agent says of another generation says nothing of this one.
    if (!report || report.generation !== relay.generation) return RelayState.PENDING
    return report.state
  }

  function seenAt(agent: string): Date | undefined {
    const at = mirror.seen.get(agent)?.value.at
    return at === undefined ? undefined : new Date(at)
  }

  function relayView(relay: Relay, counts: (agent: string) => number): RelayView {
    const agents = placement.agentsOf(relay).map(agent => onAgent(relay, agent, counts(agent)))
    const connections = agents.reduce((sum, each) => sum + each.connections, 0)
    return { relay, state: stateOfAll(agents), connections, agents, expiresAt: undefined }
  }

  function agentView(name: string): AgentView {
    const record = mirror.agents.get(name)?.value
    const host = hosts.get(name)
    const seen = mirror.seen.get(name)?.value
    return {
      name,
      labels: record?.labels ?? {},
      hostLabels: host?.hello?.hostLabels ?? seen?.hostLabels ?? {},
      state: record?.revoked ? AgentState.REVOKED : host?.session ? AgentState.READY : AgentState.UNREACHABLE,
      relays: placement.desiredOf(name).length,
      connections: host?.connections.size ?? 0,
      version: host?.hello?.version ?? seen?.version ?? '',
      certificateExpiresAt: host?.certificateExpiresAt ?? lastKeyEnd(record?.keys),
      enrolledAt: record && new Date(record.enrolledAt),
      lastHeardAt: host?.lastHeardAt ?? seenAt(name),
      capabilities: host?.hello?.capabilities ?? [],
      bootId: host?.hello?.bootId ?? '',
      clockAhead: toDuration(host?.clockAheadMs ?? 0),
      peer: host?.peer ?? '',
    }
  }

  function verdict(revocation: Revocation, agent: string): Verdict {
    const receipt = mirror.receipt(revocation.id, agent)
    if (receipt) {
      const kind = receipt.problem ? VerdictKind.REFUSED : VerdictKind.CUT
      return { agent, kind, receipt, fencedBy: undefined, problem: receipt.problem }
    }
    const problem = hosts.get(agent)?.session
      ? undefined
      : {
          code: 'unreachable',
          what: `${agent} has not answered`,
          why: 'it is not connected to the controller',
          fix: 'The order is kept, and is the first thing the agent hears when it comes back',
        }
    return { agent, kind: VerdictKind.PENDING, receipt: undefined, fencedBy: undefined, problem }
  }

  return {
    relay: relay => relayView(relay, agent => connectionsByRelay(hosts.get(agent)).get(relay.id) ?? 0),
    relays(filter) {
      const selector = parseSelector(filter?.selector ?? '')
      const counts = new Map<string, Map<string, number>>()
      const countOn = (agent: string, relayId: string) => {
        let byRelay = counts.get(agent)
        if (!byRelay) {
          byRelay = connectionsByRelay(hosts.get(agent))
          counts.set(agent, byRelay)
        }
        return byRelay.get(relayId) ?? 0
      }
      return sorted([...mirror.relays.values()].map(({ value }) => value))
        .filter(relay => !filter?.name || relay.name === filter.name || relay.id === filter.name)
        .filter(relay => selector.matches(relay.labels))
        .filter(relay => !filter?.agent || placement.runsOn(relay, filter.agent))
        .map(relay => relayView(relay, agent => countOn(agent, relay.id)))
    },
    agents(text, name) {
      const selector = parseSelector(text)
      return sorted([...mirror.agents.values()].map(({ value }) => value))
        .filter(agent => (!name || agent.name === name) && selector.matches(placement.labelsOf(agent.name)))
        .map(agent => agentView(agent.name))
    },
    connections(filter) {
      const source = filter?.source ? parseCidr(filter.source) : undefined
      const found: ConnectionView[] = []
      for (const host of hosts.all()) {
        // An agent that cannot be reached may have closed them long ago; its relays say that it is unreachable.
        if (!host.session || (filter?.agent && host.name !== filter.agent)) continue
        for (const connection of host.connections.values()) {
          const relay = mirror.relaysById.get(connection.relayId)?.name ?? connection.relayId
          if (filter?.id && connection.id !== filter.id) continue
          if (filter?.relay && relay !== filter.relay && connection.relayId !== filter.relay) continue
          if (source && !contains(source, ipOf(connection.source))) continue
          found.push({ connection: idleByNow(connection), agent: host.name, relay })
        }
      }
      return found
    },
    revocation: revocation => ({
      revocation,
      verdicts: revocation.agents.map(agent => verdict(revocation, agent)),
    }),
  }
}

function lastKeyEnd(keys: readonly { notAfter: string }[] = []): Date | undefined {
  const last = keys
    .map(key => key.notAfter)
    .sort()
    .at(-1)
  return last === undefined ? undefined : new Date(last)
}

function sorted<T extends { name: string }>(items: T[]): T[] {
  return items.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The worst comes first: one agent that refuses is what a reader of the list has to know. */
const gravest = [
  RelayState.REJECTED,
  RelayState.UNREACHABLE,
  RelayState.LAPSED,
  RelayState.PENDING,
  RelayState.READY,
  RelayState.EXPIRED,
  RelayState.REVOKED,
  RelayState.DONE,
]

function stateOfAll(agents: readonly RelayOnAgent[]): RelayState {
  return gravest.find(state => agents.some(agent => agent.state === state)) ?? RelayState.PENDING
}

/** `[::1]:4000` and `10.0.0.7:4000` without the port. */
function ipOf(source: string): string {
  return source.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
}
