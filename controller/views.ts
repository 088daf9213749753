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
import {
  type Connection,
  type Relay,
  RelayState,
  type Revocation,
  type Verdict,
  VerdictKind,
} from '#gen/fleetcat/v1/relay.ts'
import { contains, overlap, parseCidr } from '#relay/ip.ts'
import { toDuration } from '#wire/duration.ts'
import { leaseMs } from '#wire/lease.ts'
import { refusalFor } from './ability.ts'
import { connectionsByRelay, type Host, type Hosts } from './hosts.ts'
import { idleByNow } from './idleness.ts'
import type { Leases } from './leases.ts'
import { holds } from './locks.ts'
import type { Mirror } from './mirror.ts'
import type { Placement } from './placement.ts'
import { parseSelector } from './selector.ts'
import { sourceIp } from './source-ip.ts'
import { canonicalTarget, parseTarget } from './target.ts'
import type { Unsaved } from './unsaved.ts'

/** What a list shows: the desired state beside what the agents last said, and never one for the other. */
export interface Views {
  relays(filter: RelayFilter | undefined): RelayView[]
  relay(relay: Relay): RelayView
  /** How many relays are in each state, by the gravest of their agents. */
  states(): ReadonlyMap<RelayState, number>
  agents(selector: string, name?: string): AgentView[]
  /** As many as one answer holds, and how many are left out. */
  connections(filter: ConnectionFilter | undefined): { connections: ConnectionView[]; omitted: number }
  revocation(revocation: Revocation): RevocationView
  /** The newest first, as many as one answer holds. Throws a RelayError `usage` for what is no target. */
  revocations(filter: RevocationFilter): RevocationView[]
}

/** What is not said, or empty, narrows nothing. */
export interface RevocationFilter {
  /** Only what shuts something out now. */
  readonly active?: boolean | undefined
  readonly target?: string | undefined
}

/** Of agents in the verdicts too: each may carry a receipt with a problem. */
const mostRevocations = 1_000
const mostVerdicts = 20_000
/** Of one answer. Beside its texts each connection takes some hundred for its times and counters. */
const mostConnectionBytes = 12 * 2 ** 20

export function openViews({
  mirror,
  hosts,
  leases,
  placement,
  unsaved,
}: {
  mirror: Mirror
  hosts: Hosts
  leases: Leases
  placement: Placement
  unsaved: Pick<Unsaved, 'has'>
}): Views {
  function onAgent(relay: Relay, agent: string, connections: number): RelayOnAgent {
    const host = hosts.get(agent)
    const report = reportOf(relay, host)
    const lastHeardAt = host?.lastHeardAt ?? seenAt(agent)
    const leasedUntil = leases.endsBy(agent, leaseMs({ lease: relay.longestLease }))
    return { agent, report, connections, lastHeardAt, leasedUntil, state: stateOn(relay, agent, report) }
  }

  function reportOf(relay: Relay, host: Host | undefined): RelayOnAgent['report'] {
    return host && (refusalFor(relay, host) ?? host.reports.get(relay.id))
  }

  function stateOn(relay: Relay, agent: string, report: RelayOnAgent['report']): RelayState {
    if (!hosts.get(agent)?.session) {
      // It counts by itself, and has closed it.
      if (relay.expiredAt) return RelayState.EXPIRED
      const over = isPast(leases.endsBy(agent, leaseMs({ lease: relay.longestLease })))
      return over ? RelayState.LAPSED : RelayState.UNREACHABLE
    }
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
    return {
      relay,
      state: stateOf(
        relay,
        agents.map(({ state }) => state),
      ),
      connections,
      agents,
      expiresAt: relay.expiresAt,
    }
  }

  function agentView(name: string): AgentView {
    const record = mirror.agents.get(name)?.value
    const host = hosts.get(name)
    const seen = mirror.seen.get(name)?.value
    return {
      name,
      labels: record?.labels ?? {},
      hostLabels: host?.hello?.hostLabels ?? seen?.hostLabels ?? {},
      state: agentState(name),
      relays: placement.countOn(name),
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

  function agentState(name: string): AgentState {
    if (mirror.agents.get(name)?.value.revoked) return AgentState.REVOKED
    if (hosts.get(name)?.session) return AgentState.READY
    const longest = placement.longestLeaseOn(name)
    return isPast(leases.endsBy(name, longest)) ? AgentState.LAPSED : AgentState.UNREACHABLE
  }

  function verdict(revocation: Revocation, agent: string): Verdict {
    const receipt = mirror.receipt(revocation.id, agent)
    if (receipt) {
      const kind = receipt.problem ? VerdictKind.REFUSED : VerdictKind.CUT
      return { agent, kind, receipt, fencedBy: undefined, problem: receipt.problem }
    }
    if (hosts.get(agent)?.session)
      return { agent, kind: VerdictKind.PENDING, receipt: undefined, fencedBy: undefined, problem: undefined }
    const fencedBy = leases.endsBy(agent, leaseMs({ lease: revocation.longestLease }))
    const problem = {
      code: 'unreachable',
      what: `${agent} has not answered`,
      why: 'it is not connected to the controller',
      fix: 'It closes by itself when its lease ends; the order is kept, and is the first thing it hears when it comes back',
    }
    return { agent, kind: VerdictKind.FENCED, receipt: undefined, fencedBy, problem }
  }

  function revocationView(revocation: Revocation): RevocationView {
    const relays = revocation.relayIds.map(id => mirror.relaysById.get(id)?.name ?? id)
    const verdicts = revocation.agents.map(agent => verdict(revocation, agent))
    return { revocation, relays, verdicts, clock: new Date(), notDurable: unsaved.has(revocation.id) }
  }

  return {
    states() {
      const counts = new Map<RelayState, number>()
      for (const { value: relay } of mirror.relays.values()) {
        const states = placement.agentsOf(relay).map(name => {
          return stateOn(relay, name, reportOf(relay, hosts.get(name)))
        })
        const state = stateOf(relay, states)
        counts.set(state, (counts.get(state) ?? 0) + 1)
      }
      return counts
    },
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
      let [omitted, room] = [0, mostConnectionBytes]
      // Those with few come first: of what does not fit, it is the agent with the most that goes short.
      // An agent that cannot be reached may have closed its own long ago; its relays say that it is unreachable.
      const attached = [...hosts.all()].filter(host => host.session)
      const farEnds = farEndsOf(attached)
      const isFarEnd = ({ id, initiator }: Connection) => {
        const from = initiator?.startsWith('agent/') && hosts.get(initiator.slice('agent/'.length))
        return from && from.session !== undefined && from.connections.has(id)
      }
      for (const host of attached.sort((a, b) => a.connections.size - b.connections.size)) {
        for (const connection of host.connections.values()) {
          const relay = mirror.relaysById.get(connection.relayId)?.name ?? connection.relayId
          if (filter?.id && connection.id !== filter.id) continue
          if (isFarEnd(connection)) continue
          if (filter?.relay && relay !== filter.relay && connection.relayId !== filter.relay) continue
          if (source && !contains(source, sourceIp(connection.source))) continue
          const other = farEnds.get(connection.id)
          const far = other?.connection.initiator === `agent/${host.name}` ? other : undefined
          if (filter?.agent && host.name !== filter.agent && far?.agent !== filter.agent) continue
          room -= bytesOf(connection) + host.name.length + relay.length
          if (far) room -= bytesOf(far.connection) + far.agent.length
          const ends = far && { answered: far.connection, answeredBy: far.agent }
          if (room >= 0) found.push({ connection: idleByNow(connection), agent: host.name, relay, ...ends })
          else omitted++
        }
      }
      return { connections: found, omitted }
    },
    revocation: revocationView,
    revocations({ active = false, target = '' }) {
      const isOf = aboutTarget(target)
      const newest = [...mirror.revocations.values()]
        .map(({ value }) => value)
        .filter(revocation => (!active || holds(revocation)) && isOf(revocation))
        .sort((a, b) => (b.at?.getTime() ?? 0) - (a.at?.getTime() ?? 0))
        .slice(0, mostRevocations)
      let verdicts = 0
      const past = newest.findIndex(({ agents }) => {
        verdicts += agents.length
        return verdicts > mostVerdicts
      })
      // One of them is shown whole, however many its agents are.
      return (past < 0 ? newest : newest.slice(0, Math.max(1, past))).map(revocationView)
    },
  }
}

/** Of a source, a network with which it has something in common: it may be shut out by the one or by the other. */
function aboutTarget(text: string): (revocation: Revocation) => boolean {
  if (text === '') return () => true
  const wanted = canonicalTarget(text)
  const { kind, name } = parseTarget(wanted)
  if (kind !== 'source') return ({ target }) => target === wanted
  const network = parseCidr(name)
  return ({ target, targetId }) =>
    parseTarget(target).kind === 'source' && overlap(network, parseCidr(targetId))
}

/** The answering ends of tunnels, by the id that both ends list them by. */
function farEndsOf(hosts: readonly Host[]): Map<string, { connection: Connection; agent: string }> {
  const found = new Map<string, { connection: Connection; agent: string }>()
  for (const { name: agent, connections } of hosts) {
    for (const connection of connections.values())
      if (connection.initiator?.startsWith('agent/')) found.set(connection.id, { connection, agent })
  }
  return found
}

const isPast = (at: Date) => at.getTime() <= Date.now()

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
const gravest: readonly RelayState[] = [
  RelayState.REJECTED,
  RelayState.UNREACHABLE,
  RelayState.LAPSED,
  RelayState.PENDING,
  RelayState.READY,
  RelayState.EXPIRED,
  RelayState.REVOKED,
  RelayState.DONE,
]

function stateOf({ expiredAt }: Relay, states: readonly RelayState[]): RelayState {
  return expiredAt && states.length === 0 ? RelayState.EXPIRED : gravestOf(states)
}

function gravestOf(states: readonly RelayState[]): RelayState {
  const ranks = states.map(state => gravest.indexOf(state)).filter(rank => rank >= 0)
  return ranks.length === 0 ? RelayState.PENDING : (gravest[Math.min(...ranks)] as RelayState)
}

function bytesOf({ id, relayId, source, target, tlsIdentity }: Connection): number {
  return 128 + Buffer.byteLength(id + relayId + source + target + tlsIdentity)
}
