import { AgentServiceClient } from '#gen/fleetcat/v1/agent.ts'
import type { LoadedIdentity } from '#identity/files.ts'
import { clientOptions } from '#identity/tls.ts'
import { channelCredentials, channelOptionsFor } from '#wire/channel.ts'

export interface Dialler {
  /** A client of its own, with the identity of this moment. Throws a RelayError when that cannot be used. */
  open(): AgentServiceClient
  /** The controller did not answer, or not well: the next try goes to the next one. */
  failed(): void
}

export function openDialler(
  addresses: readonly string[],
  identity: () => Pick<LoadedIdentity, 'key' | 'cert' | 'ca'>,
): Dialler {
  let at = 0
  return {
    open() {
      const address = addresses[at % addresses.length]!
      return new AgentServiceClient(
        address,
        channelCredentials(clientOptions(identity())),
        channelOptionsFor(address),
      )
    },
    failed() {
      at++
    },
  }
}
