import type { RelayObserver, RelayPlan } from '#relay/relay.ts'
import type { Logger } from '#telemetry/log.ts'

/** One line for each turn in the life of a relay and of its connections. */
export function storyOf(log: Logger, { id, name }: RelayPlan): RelayObserver {
  const relay = { relay: name, relayId: id }
  let lastRejection = ''

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
    opened: ({ id: connection, source, target }) =>
      log.info({ event: 'connection.opened', relay: name, connection, source, target }, 'connection opened'),
    closed({ id: connection, source, target, bytesIn, bytesOut, tlsIdentity }, { cause, error, durationMs }) {
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
