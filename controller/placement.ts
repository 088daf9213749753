import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import { type Relay, RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { toDuration } from '#wire/duration.ts'
import { defaultLeaseMs, leaseMs } from '#wire/lease.ts'
import { timeLeft } from './expiry.ts'
import { equalLabels, type Labels, labelsOfAgent } from './labels.ts'
import type { Mirror, MirrorChange } from './mirror.ts'
import { parseSelector, type Selector } from './selector.ts'

/** Which agents run which relays. */
export interface Placement {
  /** The labels that the token gave, and under `host.` what the host says of itself. */
  labelsOf(agent: string): Labels
  runsOn(relay: Relay, agent: string): boolean
  agentsOf(relay: Relay): string[]
  desiredOf(agent: string): Desired[]
  /** The longest lease of all that it has to run; the default if that is nothing. */
  longestLeaseOn(agent: string): number
  /** How many relays it has to run. */
  countOn(agent: string): number
}

/** The agents that one selector finds, and the relays that follow it. A fleet has few selectors, and shares them. */
interface Group {
  readonly selector: Selector
  readonly agents: Set<string>
  readonly relayIds: Set<string>
}

/**
 * Kept up to date by the mirror's changes rather than worked out at each question: with a thousand agents and hundreds
 * of relays one list took half a second.
 */
export function openPlacement(mirror: Mirror, hostLabelsOf: (agent: string) => Labels): Placement {
  /** Of the agents that are not revoked. */
  const labels = new Map<string, Labels>()
  const groups = new Map<string, Group>()
  const byName = new Map<string, Set<string>>()
  const placed = new Map<string, Relay>()

  const labelsNow = (agent: string) =>
    labelsOfAgent(mirror.agents.get(agent)?.value.labels ?? {}, hostLabelsOf(agent))

  function learnAgent(agent: string): void {
    const record = mirror.agents.get(agent)?.value
    const before = labels.get(agent)
    if (!record || record.revoked) {
      if (labels.delete(agent)) for (const group of groups.values()) group.agents.delete(agent)
      return
    }
    const now = labelsNow(agent)
    if (before && equalLabels(before, now)) return
    labels.set(agent, now)
    for (const group of groups.values()) {
      if (group.selector.matches(now)) group.agents.add(agent)
      else group.agents.delete(agent)
    }
  }

  function learnRelay(id: string): void {
    const before = placed.get(id)
    const now = mirror.relaysById.get(id)
    if (before === now) return
    if (before) forgetRelay(before)
    if (!now) return
    placed.set(id, now)
    const { agents = [], selector = '' } = now.spec ?? {}
    if (agents.length === 0) return void groupOf(selector).relayIds.add(id)
    for (const agent of agents) {
      const ids = byName.get(agent) ?? new Set()
      byName.set(agent, ids.add(id))
    }
  }

  function forgetRelay({ id, spec }: Relay): void {
    placed.delete(id)
    const { agents = [], selector = '' } = spec ?? {}
    const group = groups.get(selector)
    if (group?.relayIds.delete(id) && group.relayIds.size === 0) groups.delete(selector)
    for (const agent of agents) {
      const ids = byName.get(agent)
      if (ids?.delete(id) && ids.size === 0) byName.delete(agent)
    }
  }

  function groupOf(text: string): Group {
    const known = groups.get(text)
    if (known) return known
    const selector = parseSelector(text)
    const agents = [...labels].filter(([, each]) => selector.matches(each)).map(([agent]) => agent)
    const group = { selector, agents: new Set(agents), relayIds: new Set<string>() }
    groups.set(text, group)
    return group
  }

  function learn({ everything, relayIds, agents, relabelled }: MirrorChange): void {
    const known = everything ? [...labels.keys()] : []
    for (const agent of new Set([...known, ...agents, ...relabelled])) learnAgent(agent)
    const gone = everything ? [...placed.keys()] : []
    for (const id of new Set([...gone, ...relayIds])) learnRelay(id)
  }

  mirror.onChange(learn)
  for (const agent of mirror.agents.keys()) learnAgent(agent)
  for (const id of mirror.relaysById.keys()) learnRelay(id)

  function agentsOf({ spec }: Relay): readonly string[] | ReadonlySet<string> {
    if (!spec) return []
    if (spec.agents.length > 0) return [...new Set(spec.agents)].filter(agent => labels.has(agent))
    // A relay that is only being thought of has no group yet.
    const group = groups.get(spec.selector)
    if (group) return group.agents
    const { matches } = parseSelector(spec.selector)
    return [...labels].filter(([, each]) => matches(each)).map(([agent]) => agent)
  }

  function* groupsWith(agent: string): Iterable<Group> {
    for (const group of groups.values()) if (group.agents.has(agent)) yield group
  }

  function* idsOn(agent: string): Iterable<string> {
    if (!labels.has(agent)) return
    yield* byName.get(agent) ?? []
    for (const { relayIds } of groupsWith(agent)) yield* relayIds
  }

  return {
    labelsOf: agent => labels.get(agent) ?? labelsNow(agent),
    agentsOf: relay => [...agentsOf(relay)],
    runsOn({ spec }, agent) {
      const own = labels.get(agent)
      if (!spec || !own) return false
      if (spec.agents.length > 0) return spec.agents.includes(agent)
      const group = groups.get(spec.selector)
      return group ? group.agents.has(agent) : parseSelector(spec.selector).matches(own)
    },
    desiredOf(agent) {
      if (!labels.has(agent)) return []
      return [...idsOn(agent)].map(id => toDesired(placed.get(id) as Relay))
    },
    longestLeaseOn(agent) {
      let longest = defaultLeaseMs
      for (const id of idsOn(agent)) longest = Math.max(longest, leaseMs(placed.get(id)?.spec ?? noLease))
      return longest
    },
    countOn(agent) {
      if (!labels.has(agent)) return 0
      let count = byName.get(agent)?.size ?? 0
      for (const { relayIds } of groupsWith(agent)) count += relayIds.size
      return count
    },
  }
}

const noLease = { lease: undefined }

/** The part of a relay that concerns the agent that runs it, as of now: what it says of time is to be sent at once. */
export function toDesired(relay: Relay): Desired {
  const { id, name, generation, spec } = relay
  const { agents: _, selector: __, ttl: ___, ...own } = spec ?? RelaySpec.fromPartial({})
  const left = timeLeft(relay)
  return { relayId: id, name, generation, ...own, expiresIn: left === undefined ? left : toDuration(left) }
}
