import type { ConnectionClosed, ConnectionEvents, Traffic } from '#gen/fleetcat/v1/agent.ts'
import type { Connection as ConnectionMessage } from '#gen/fleetcat/v1/relay.ts'
import type { TunnelWay } from '#relay/endpoint.ts'
import type { Connection, RelayObserver } from '#relay/relay.ts'
import { toDuration } from '#wire/duration.ts'
import { toProblem } from '#wire/problem.ts'

/** Of a connection that has come out of a tunnel: who is at its other end, and how it goes. */
export interface TunnelEnd {
  readonly initiator: string
  readonly way: TunnelWay
  /** What an operator does with it. */
  readonly purpose?: string | undefined
}

export type Ending = Parameters<RelayObserver['closed']>[1]

export interface RosterOptions {
  /** Called when `take` has something to give. */
  readonly due: () => void
  readonly batchMs?: number
  readonly trafficMs?: number
  /** Connections in one message, and closings kept while nobody takes them. */
  readonly chunk?: number
}

/** Every live connection of every relay of this host, and what the controller has yet to hear of them. */
export interface Roster extends Disposable {
  readonly live: ReadonlyMap<string, Connection>
  /** Since this boot. */
  readonly totals: { readonly connections: number; readonly bytesIn: number; readonly bytesOut: number }
  /** `tunnel`: it has come out of one. */
  opened(connection: Connection, tunnel?: TunnelEnd): void
  closed(connection: Connection, ending: Ending): void
  /** The next message, or undefined when nothing is due. What it holds counts as told. */
  take(): ConnectionEvents | undefined
  /** Whoever takes from now on knows nothing: the next message is a snapshot. */
  restart(): void
}

export function openRoster({ due, batchMs = 50, trafficMs = 1_000, chunk = 2_000 }: RosterOptions): Roster {
  const live = new Map<string, Connection>()
  const tunnels = new Map<string, TunnelEnd>()
  const told = new Map<string, Told>()
  const untold = new Set<string>()
  let closings: ConnectionClosed[] = []
  let traffic: string[] = []
  let brief = 0
  let snapshot = true
  let batchDue = false
  let batch: NodeJS.Timeout | undefined
  const past = { connections: 0, bytesIn: 0, bytesOut: 0 }

  const ticker = setInterval(() => {
    traffic = []
    for (const [id, before] of told) {
      const now = live.get(id)!
      // Its first target has not opened, so it went on to another: it is told anew.
      if (now.target !== before.target || now.way !== before.way) untold.add(id)
      else if (moved(now, before)) traffic.push(id)
    }
    if (untold.size > 0) changed()
    if (traffic.length > 0) due()
  }, trafficMs)

  function changed() {
    if (batchDue) return due()
    batch ??= setTimeout(() => {
      batch = undefined
      batchDue = true
      due()
    }, batchMs)
  }

  function restart() {
    snapshot = true
    closings = []
    traffic = []
    told.clear()
    untold.clear()
    for (const id of live.keys()) untold.add(id)
    due()
  }

  function takeOpened(): ConnectionMessage[] {
    const opened: ConnectionMessage[] = []
    for (const id of untold) {
      if (opened.length === chunk) break
      untold.delete(id)
      const connection = live.get(id)!
      const { bytesIn, bytesOut, target, way } = connection
      told.set(id, { bytesIn, bytesOut, target, way })
      opened.push(toMessage(connection, tunnels.get(id)))
    }
    return opened
  }

  function takeTraffic(): Traffic[] {
    const moves: Traffic[] = []
    for (const id of traffic.splice(0, chunk)) {
      const connection = live.get(id)
      const before = told.get(id)
      if (!connection || !before) continue
      before.bytesIn = connection.bytesIn
      before.bytesOut = connection.bytesOut
      moves.push({ id, ...bytes(connection), idle: idle(connection) })
    }
    return moves
  }

  return {
    live,
    get totals() {
      const sum = { ...past }
      for (const { bytesIn, bytesOut } of live.values()) {
        sum.bytesIn += bytesIn
        sum.bytesOut += bytesOut
      }
      return sum
    },
    opened(connection, tunnel) {
      past.connections++
      if (tunnel) tunnels.set(connection.id, tunnel)
      live.set(connection.id, connection)
      untold.add(connection.id)
      changed()
    },
    closed(connection, ending) {
      if (!live.delete(connection.id)) return
      tunnels.delete(connection.id)
      past.bytesIn += connection.bytesIn
      past.bytesOut += connection.bytesOut
      const wasTold = told.delete(connection.id)
      untold.delete(connection.id)
      if (!wasTold) brief++
      else closings.push(closing(connection, ending))
      // Nobody takes for so long that a fresh list is shorter than the story so far.
      if (closings.length > chunk) restart()
      else changed()
    },
    take() {
      const first = snapshot
      if (first || batchDue) {
        snapshot = false
        const events = {
          snapshot: first,
          opened: takeOpened(),
          closed: closings,
          traffic: takeTraffic(),
          brief: BigInt(brief),
        }
        closings = []
        brief = 0
        batchDue = untold.size > 0
        if (first || events.opened.length + events.closed.length + events.traffic.length > 0 || events.brief)
          return events
      }
      const moves = takeTraffic()
      return moves.length > 0
        ? { snapshot: false, opened: [], closed: [], traffic: moves, brief: 0n }
        : undefined
    },
    restart,
    [Symbol.dispose]() {
      clearInterval(ticker)
      clearTimeout(batch)
    },
  }
}

/** What the controller last heard of a connection. */
interface Told {
  bytesIn: number
  bytesOut: number
  readonly target: string
  readonly way: TunnelWay | undefined
}

const moved = (now: Connection, before: Told) =>
  now.bytesIn !== before.bytesIn || now.bytesOut !== before.bytesOut

const bytes = ({ bytesIn, bytesOut }: Connection) => ({
  bytesIn: BigInt(bytesIn),
  bytesOut: BigInt(bytesOut),
})

const idle = ({ idleMs }: Connection) => toDuration(idleMs)

function toMessage(connection: Connection, tunnel: TunnelEnd | undefined): ConnectionMessage {
  const way = tunnel?.way ?? connection.way
  return {
    id: connection.id,
    relayId: connection.relayId,
    source: connection.source,
    target: connection.target,
    tlsIdentity: connection.tlsIdentity ?? '',
    openedAt: connection.openedAt,
    idle: idle(connection),
    ...bytes(connection),
    ...(way && { way }),
    ...(tunnel && { initiator: tunnel.initiator }),
    ...(tunnel?.purpose && { purpose: tunnel.purpose }),
  }
}

function closing(connection: Connection, { cause, error, durationMs }: Ending): ConnectionClosed {
  return {
    id: connection.id,
    cause,
    ...bytes(connection),
    duration: toDuration(durationMs),
    problem: error && toProblem(error),
  }
}
