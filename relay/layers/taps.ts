import type { Connection, LiveConnection } from '../connection.ts'
import type { Direction } from '../flow-settings.ts'

/** Sees what goes through a connection: see `Tap`. */
export type Sink = (connection: Connection, direction: Direction, bytes: Buffer, from: number) => void

/** Who sees what goes through the connections of one relay. While there is nobody, nothing is looked at. */
export interface Taps {
  /** From now on `sink` sees all connections, those included that are open already. Returns what ends that. */
  add(sink: Sink): () => void
  /** Called for each new connection. */
  attach(connection: LiveConnection): void
}

export function openTaps(live: () => Iterable<LiveConnection>): Taps {
  const sinks = new Set<Sink>()

  const attach = (connection: LiveConnection) => {
    if (sinks.size === 0) return connection.tap(undefined)
    connection.tap((direction, bytes, from) => {
      for (const sink of sinks) sink(connection.listed, direction, bytes, from)
    })
  }

  /** The tap of a connection asks the set, so it changes only when the first comes or the last goes. */
  const changed = () => {
    for (const connection of live()) attach(connection)
  }

  return {
    add(sink) {
      sinks.add(sink)
      if (sinks.size === 1) changed()
      return () => {
        if (sinks.delete(sink) && sinks.size === 0) changed()
      }
    },
    attach(connection) {
      if (sinks.size > 0) attach(connection)
    },
  }
}
