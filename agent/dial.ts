import { AgentServiceClient } from '#gen/fleetcat/v1/agent.ts'
import type { LoadedIdentity } from '#identity/files.ts'
import { clientOptions } from '#identity/tls.ts'
import { channelCredentials, channelOptionsFor } from '#wire/channel.ts'
import { type HostPort, parseHostPort } from '#wire/host-port.ts'

export interface Dialler {
  /** A client of its own, with the identity of this moment. Throws a RelayError when that cannot be used. */
  open(): AgentServiceClient
  /** The port of the controller that is asked now: tunnels go there too. */
  place(): HostPort
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
    place() {
      const address = addresses[at % addresses.length]!
      return parseHostPort(address, { what: address, fix: 'Write HOST:PORT' })
    },
    failed() {
      at++
    },
  }
}
