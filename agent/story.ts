import type { Connection, RelayObserver, RelayPlan } from '#relay/relay.ts'
import type { Logger } from '#telemetry/log.ts'

/** A connection that is over by then has no line for its beginning. */
const youngMs = 200

/** One line for each turn in the life of a relay and of its connections. */
export function storyOf(log: Logger, { id, name }: RelayPlan): RelayObserver {
  const relay = { relay: name, relayId: id }
  let lastRejection = ''
  /** Opened a moment ago. */
  const young = new Map<string, Connection>()
  let isGrowing = false

  function tellOfYoung(): void {
    isGrowing = false
    for (const { id: connection, source, target } of young.values())
      log.info({ event: 'connection.opened', relay: name, connection, source, target }, 'connection opened')
    young.clear()
  }

  return {
    state(state) {
      if (state.name === 'ready') {
        lastRejection = ''
        log.info({ event: 'relay.applied', ...relay, local: state.local }, 'relay applied')
      }
      if (state.name === 'rejected' && state.error.message !== lastRejection) {
        // Said once, not at each retry.
        lastRejection = state.error.message
        log.warn(
          { event: 'relay.rejected', ...relay, error: state.error, retryAt: state.retryAt },
          'relay rejected',
        )
      }
      if (state.name === 'done') log.info({ event: 'relay.done', ...relay }, 'relay done')
    },
    // Of a connection that is over in no time one line says all; thousands a second would be twice as many.
    opened(connection) {
      young.set(connection.id, connection)
      if (!isGrowing) setTimeout(tellOfYoung, youngMs)
      isGrowing = true
    },
    closed({ id: connection, source, target, bytesIn, bytesOut, tlsIdentity }, { cause, error, durationMs }) {
      young.delete(connection)
      const about = { relay: name, connection, source, target, ...(tlsIdentity && { tlsIdentity }) }
      const why = error && { why: error.message }
      const ms = Math.round(durationMs)
      log.info(
        { event: 'connection.closed', ...about, bytesIn, bytesOut, ms, cause, ...why },
        'connection closed',
      )
    },
    refused: (cause, source) =>
      log.debug({ event: 'connection.refused', relay: name, source, cause }, 'connection refused'),
    target({ address, health, error }) {
      if (health === 'down')
        log.warn({ event: 'target.down', relay: name, target: address, why: error?.message }, 'target down')
      if (health === 'up') log.info({ event: 'target.up', relay: name, target: address }, 'target up')
    },
    failed: (error, source) =>
      log.warn({ event: 'connection.failed', relay: name, source, error }, 'connection failed'),
  }
}
