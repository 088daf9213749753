import type { Connection } from '#gen/fleetcat/v1/relay.ts'
import { toDuration, toMilliseconds } from '#wire/duration.ts'

/** An agent says nothing of a connection on which nothing moves, so what it said last grows older with us. */
const quietSince = new WeakMap<Connection, number>()

/** The agent has just said for how long nothing moved. */
export function noteIdle(connection: Connection): void {
  const { idle } = connection
  if (idle) quietSince.set(connection, performance.now() - toMilliseconds(idle))
}

/** The same connection, idle for as long as it is by now. */
export function idleByNow(connection: Connection): Connection {
  const since = quietSince.get(connection)
  return since === undefined ? connection : { ...connection, idle: toDuration(performance.now() - since) }
}
