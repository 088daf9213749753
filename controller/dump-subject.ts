import type { WatchDumpRequest } from '#gen/fleetcat/v1/operator.ts'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import type { Hosts } from './hosts.ts'
import type { Mirror } from './mirror.ts'
import type { Placement } from './placement.ts'
import { parseTarget } from './target.ts'

/** What an operator wants to look at. */
export interface DumpSubject {
  /** As typed. */
  readonly target: string
  readonly relay: Relay
  /** Empty for all of the relay's. */
  readonly connectionId: string
  /** The agents that can show it, at this moment. */
  agents(): string[]
}

/** Throws a RelayError when there is no such relay, connection or agent. */
export function dumpSubject(
  { target, agent }: WatchDumpRequest,
  { mirror, hosts, placement }: { mirror: Mirror; hosts: Hosts; placement: Placement },
): DumpSubject {
  const { kind, name } = parseTarget(target)
  if (kind === 'relay') {
    const relay = mirror.relays.get(name)?.value
    if (!relay) throw missing(target, nearest(name, [...mirror.relays.keys()]))
    // One that was asked for while it started has the newest placement when it is looked for.
    const agents = () => {
      const now = mirror.relaysById.get(relay.id)
      return now ? placement.agentsOf(now).filter(each => !agent || each === agent) : []
    }
    if (agent && agents().length === 0) throw elsewhere(target, agent, placement.agentsOf(relay))
    return { target, relay, connectionId: '', agents }
  }
  if (kind === 'conn') {
    const holders = [...hosts.all()].filter(host => host.session && host.connections.has(name))
    const wanted = holders.filter(host => !agent || host.name === agent)
    const [first] = wanted
    if (!first) {
      if (holders.length === 0) throw missing(target)
      throw elsewhere(
        target,
        agent,
        holders.map(host => host.name),
      )
    }
    const relay = mirror.relaysById.get(first.connections.get(name)!.relayId)
    if (!relay) throw missing(target)
    const agents = wanted.map(host => host.name)
    return { target, relay, connectionId: name, agents: () => agents }
  }
  throw new RelayError('usage', {
    what: `dump ${target}`,
    why: 'only what passes through a relay or a connection can be shown',
    fix: 'Write relay/NAME or conn/ID',
  })
}

function missing(target: string, near?: string): RelayError {
  return new RelayError('not-found', {
    what: target,
    why: 'there is none',
    fix: near
      ? `Did you mean relay/${near}?`
      : '`fleetcat list` and `fleetcat connections` show what there is',
  })
}

function elsewhere(target: string, agent: string, agents: readonly string[]): RelayError {
  const near = nearest(agent, agents)
  return new RelayError('not-found', {
    what: `${target} on ${agent}`,
    why: `it is not there, but on ${agents.slice(0, 8).join(', ')}`,
    fix: near ? `Did you mean --agent ${near}?` : 'Leave out --agent, or name one of them',
  })
}
