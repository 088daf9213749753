import { ownEgress } from '#relay/egress.ts'
import type { Endpoint } from '#relay/endpoint.ts'
import { bindAddress, bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openRelay, type RelayLimits } from '#relay/relay.ts'
import type { Fleet } from './client.ts'
import { note } from './failure.ts'
import { openTunnels } from './tunnels.ts'

export interface PipeOptions {
  /** Resolves with the exit code when somebody wants it to end. */
  readonly stopped: Promise<number>
  readonly tee: readonly string[]
}

/** Who has said all waits for the answer as long as it takes. */
const patient: RelayLimits = { idleTimeoutMs: Infinity, halfCloseMs: Infinity }
/** The other side has ended: what standard input still has is of use for a moment, as socat has it. */
const ending: RelayLimits = { idleTimeoutMs: Infinity, halfCloseMs: 500 }

/** Runs until both sides have ended. Answers the exit code; rejects with what failed. */
export async function runPipe(fleet: Fleet, address: string, { stopped, tee }: PipeOptions): Promise<number> {
  const over = Promise.withResolvers<number>()
  await using tunnels = openTunnels(fleet, {
    purpose: 'pipe',
    withdrawn: why => over.reject(why),
  })
  const target = tunnels.target(address)
  const copies = tee.map(text => bindTarget(text))
  let hasFailed = false
  let hasGap = false
  await using relay = openRelay(
    {
      id: 'pipe',
      name: 'pipe',
      listen: bindAddress('STDIO'),
      targets: [noticed(target, () => relay.setLimits(ending))],
      limits: patient,
      ...(copies.length > 0 && { flow: { tee: copies } }),
      giveUp: true,
    },
    {
      egress: ownEgress,
      newConnectionId: () => 'pipe',
      observer: {
        state(state) {
          if (state.name === 'rejected' && !state.retryAt) over.reject(state.error)
          // What failed has been told of.
          else if (state.name === 'done' && !hasFailed) over.resolve(0)
        },
        opened() {},
        closed(_, { cause, error }) {
          if (cause !== 'failed' || !error) return
          hasFailed = true
          over.reject(error)
        },
        refused(cause) {
          // One gap is as bad as many, and a fast input would have thousands.
          if (!hasGap) note(`a copy has a gap: ${cause}`)
          hasGap = true
        },
        failed(error) {
          if (relay.connections.size === 0 || error.what.startsWith('tee')) note(error.message)
        },
      },
    },
  )
  return await Promise.race([stopped, over.promise])
}

/** Tells when what the target says has come to its end. */
function noticed(endpoint: Endpoint, ended: () => void): Endpoint {
  const { dialer } = endpoint
  if (!dialer) throw new RelayError('usage', { what: endpoint.address.text, why: 'it cannot be opened' })
  return {
    ...endpoint,
    dialer: {
      async dial(cx) {
        const channel = await dialer.dial(cx)
        channel.stream.once('end', ended)
        return channel
      },
    },
  }
}
