import type { ConnectionEvents, Hello } from '#gen/fleetcat/v1/agent.ts'
import type { Connection, RelayReport } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { noteIdle } from './idleness.ts'
import { Measured } from './measured.ts'
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
  readonly reports: Measured<RelayReport>
  readonly connections: Measured<Connection>
}

/** Live connections of one agent; well above what one host's descriptors allow. */
const mostConnections = 100_000
/** Characters of one agent's connections, and of its reports. No agent may break a list in which it is but one. */
const mostConnectionText = 16 * 2 ** 20
const mostReportText = 2 ** 20

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
          reports: new Measured(reportLength),
          connections: new Measured(connectionLength),
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

/**
 * Brings the list of live connections to what the agent says. Throws, and forgets them all, when they are more than any
 * host can have.
 */
export function noteConnections({ connections, name }: Host, events: ConnectionEvents): void {
  const { snapshot, opened, closed, traffic } = events
  if (snapshot) connections.clear()
  for (const connection of opened) {
    const { id } = connection
    const room = connections.size < mostConnections || connections.has(id)
    if (room && connections.lengthWith(id, connection) <= mostConnectionText) {
      connections.set(id, connection)
      noteIdle(connection)
    } else {
      connections.clear()
      const why = `it says that it has more than ${mostConnections} connections, or as much text as fits no host`
      throw new RelayError('exhausted', { what: `agent/${name}`, why })
    }
  }
  for (const { id } of closed) connections.delete(id)
  for (const { id, bytesIn, bytesOut, idle } of traffic) {
    const connection = connections.get(id)
    if (connection) noteIdle(Object.assign(connection, { bytesIn, bytesOut, idle }))
  }
}

/** Keeps what the agent says of one relay; of an agent that has said too much already, only the gist. */
export function noteReport({ reports }: Host, report: RelayReport): void {
  const { relayId } = report
  const gist = { ...report, local: [], trace: [], refusals: {}, targets: [], problem: undefined }
  reports.set(relayId, reports.lengthWith(relayId, report) <= mostReportText ? report : gist)
}

function connectionLength({ id, relayId, source, target, tlsIdentity }: Connection): number {
  return id.length + relayId.length + source.length + target.length + tlsIdentity.length
}

function reportLength({ relayId, local, problem, trace, refusals, targets }: RelayReport): number {
  const addresses = targets.map(({ address }) => address)
  const texts = [relayId, ...local, ...Object.keys(refusals), ...addresses]
  for (const each of [problem, ...targets.map(({ problem }) => problem)]) {
    if (each) texts.push(each.code, each.what, each.why, each.fix)
  }
  return (
    texts.reduce((sum, text) => sum + text.length, 0) +
    trace.reduce((sum, { state }) => sum + state.length, 0)
  )
}

/** How many of the host's live connections each relay has. */
export function connectionsByRelay(host: Host | undefined): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { relayId } of host?.connections.values() ?? [])
    counts.set(relayId, (counts.get(relayId) ?? 0) + 1)
  return counts
}
