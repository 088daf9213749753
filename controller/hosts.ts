import type { ConnectionEvents, Hello } from '#gen/fleetcat/v1/agent.ts'
import type { Connection, RelayReport } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { mostConnections } from './hearsay.ts'
import type { AgentSession } from './session.ts'

/** What the controller knows of one agent beyond its record: what the agent itself last said. */
export interface Host {
  readonly name: string
  /** The live stream; absent while the agent cannot be reached. What follows is then the last that was known. */
  session: AgentSession | undefined
  hello: Hello | undefined
  peer: string
  certificateExpiresAt: Date | undefined
  lastHeardAt: Date | undefined
  /** A new certificate is being made for it; one at a time, however often it asks. */
  renewing: boolean
  /** The agent's clock less ours. */
  clockAheadMs: number
  readonly reports: Map<string, RelayReport>
  readonly connections: Map<string, Connection>
}

export interface Hosts {
  get(name: string): Host | undefined
  /** The host of this name, made if need be. */
  of(name: string): Host
  all(): Iterable<Host>
  /** Called after any change that a list would show; a listener that is slow must gather. */
  onChange(listener: () => void): () => void
  changed(): void
}

export function openHosts(): Hosts {
  const hosts = new Map<string, Host>()
  const listeners = new Set<() => void>()
  return {
    get: name => hosts.get(name),
    of(name) {
      let host = hosts.get(name)
      if (!host) {
        host = {
          name,
          session: undefined,
          hello: undefined,
          peer: '',
          certificateExpiresAt: undefined,
          lastHeardAt: undefined,
          renewing: false,
          clockAheadMs: 0,
          reports: new Map(),
          connections: new Map(),
        }
        hosts.set(name, host)
      }
      return host
    },
    all: () => hosts.values(),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    changed() {
      for (const listener of listeners) listener()
    },
  }
}

/** Brings the list of live connections to what the agent says. Throws when they are more than any host can have. */
export function noteConnections(host: Host, { snapshot, opened, closed, traffic }: ConnectionEvents): void {
  if (snapshot) host.connections.clear()
  for (const connection of opened) host.connections.set(connection.id, connection)
  for (const { id } of closed) host.connections.delete(id)
  if (host.connections.size > mostConnections) {
    const why = `it says that it has more than ${mostConnections} connections`
    throw new RelayError('exhausted', { what: `agent/${host.name}`, why })
  }
  for (const { id, bytesIn, bytesOut, idle } of traffic) {
    const connection = host.connections.get(id)
    if (connection) Object.assign(connection, { bytesIn, bytesOut, idle })
  }
}

/** How many of the host's live connections each relay has. */
export function connectionsByRelay(host: Host | undefined): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { relayId } of host?.connections.values() ?? [])
    counts.set(relayId, (counts.get(relayId) ?? 0) + 1)
  return counts
}
