import { RelayError } from '#relay/errors.ts'
import type { Direction } from '#relay/flow-settings.ts'
import type { Watcher } from '#relay/layers/watcher.ts'
import type { Connection, RunningRelay } from '#relay/relay.ts'

/** Somebody who looks at what passes through a relay, or through one of its connections. */
export interface Onlooker {
  /** Set: only this one, and it is over with it. */
  readonly connectionId?: string | undefined
  /** Set: only this way. */
  readonly direction?: Direction | undefined
  /** What passes, from now on. Called again when the relay was opened anew; what was watched before has ended then. */
  watches(watcher: Watcher): void
  /** There is nothing more to see. Called at most once, and not after it has left. */
  ended(why: RelayError): void
}

/** Who looks at which relay, from before it opens and while it is opened anew. */
export interface Watchers {
  /** Answers how to leave. */
  add(relayId: string, onlooker: Onlooker): () => void
  /** This relay runs now. */
  opened(relay: RunningRelay): void
  closed(connection: Connection): void
  /** This relay will not run here any more. */
  ended(relayId: string, why: RelayError): void
}

/** Of what waits for one onlooker. */
const room = 256 * 1024

export function openWatchers(runningRelay: (relayId: string) => RunningRelay | undefined): Watchers {
  const present = new Map<string, Set<Onlooker>>()

  function remove(relayId: string, onlooker: Onlooker): void {
    const all = present.get(relayId)
    if (all?.delete(onlooker) && all.size === 0) present.delete(relayId)
  }

  function show({ connectionId, direction, watches }: Onlooker, relay: RunningRelay): void {
    watches(relay.watch({ room, ...(connectionId && { connectionId }), ...(direction && { direction }) }))
  }

  function end(relayId: string, fits: (onlooker: Onlooker) => boolean, why: RelayError): void {
    for (const onlooker of present.get(relayId) ?? []) {
      if (!fits(onlooker)) continue
      remove(relayId, onlooker)
      onlooker.ended(why)
    }
  }

  return {
    add(relayId, onlooker) {
      const { connectionId } = onlooker
      const relay = runningRelay(relayId)
      if (connectionId && !relay?.connections.has(connectionId)) {
        onlooker.ended(over(connectionId))
        return () => {}
      }
      const all = present.get(relayId) ?? new Set()
      present.set(relayId, all.add(onlooker))
      if (relay) show(onlooker, relay)
      return () => remove(relayId, onlooker)
    },
    opened(relay) {
      for (const onlooker of present.get(relay.plan.id) ?? []) show(onlooker, relay)
    },
    closed({ id, relayId }) {
      if (present.size > 0) end(relayId, ({ connectionId }) => connectionId === id, over(id))
    },
    ended: (relayId, why) => end(relayId, () => true, why),
  }
}

const over = (connectionId: string) =>
  new RelayError('closed', { what: `conn/${connectionId}`, why: 'it is over' })
