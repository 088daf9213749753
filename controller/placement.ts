import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import { hostPrefix } from '#wire/labels.ts'
import type { Mirror } from './mirror.ts'
import { parseSelector, type Selector } from './selector.ts'

/** Which agents run which relays. */
export interface Placement {
  /** The labels that the token gave, and under `host.` what the host says of itself. */
  labelsOf(agent: string): Record<string, string>
  runsOn(relay: Relay, agent: string): boolean
  agentsOf(relay: Relay): string[]
  desiredOf(agent: string): Desired[]
}

export function openPlacement(
  mirror: Mirror,
  hostLabelsOf: (agent: string) => Record<string, string>,
): Placement {
  const selectors = new Map<string, Selector>()

  function selector(text: string): Selector {
    const known = selectors.get(text)
    if (known) return known
    const parsed = parseSelector(text)
    // A fleet has few selectors; should somebody make many, the cache starts over.
    if (selectors.size > 1_000) selectors.clear()
    selectors.set(text, parsed)
    return parsed
  }

  function labelsOf(agent: string): Record<string, string> {
    const own = Object.entries(hostLabelsOf(agent)).map(([name, value]) => [
      name.startsWith(hostPrefix) ? name : hostPrefix + name,
      value,
    ])
    return { ...Object.fromEntries(own), ...mirror.agents.get(agent)?.value.labels }
  }

  function runsOn({ spec }: Relay, agent: string): boolean {
    if (!spec || mirror.agents.get(agent)?.value.revoked) return false
    if (spec.agents.length > 0) return spec.agents.includes(agent)
    return mirror.agents.has(agent) && selector(spec.selector).matches(labelsOf(agent))
  }

  return {
    labelsOf,
    runsOn,
    agentsOf(relay) {
      return [...mirror.agents.keys()].filter(agent => runsOn(relay, agent))
    },
    desiredOf(agent) {
      return [...mirror.relays.values()]
        .filter(({ value }) => runsOn(value, agent))
        .map(({ value }) => toDesired(value))
    },
  }
}

/** The part of a relay that concerns the agent that runs it. */
export function toDesired({ id, name, generation, spec }: Relay): Desired {
  const { listen = '', targets = [], limits } = spec ?? {}
  return { relayId: id, name, generation, listen, targets, limits }
}
