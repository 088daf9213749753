import type { Channel, Endpoint } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import type { FlowSettings } from '#relay/flow-settings.ts'
import { openTestRelay, type TestRelay } from '#test/resources/relays.ts'
import { openClient } from '#test/resources/servers.ts'
import { type MemoryPort, type MemoryPortOptions, openMemoryPort } from './memory-port.ts'
import { type TelnetPeer, telnetPeer } from './telnet-peer.ts'

export interface ServedPort extends AsyncDisposable {
  readonly relay: TestRelay
  /** Those that were opened, one for each client. */
  readonly ports: readonly MemoryPort[]
  /** A client that speaks by hand. The first one there has the first port. */
  client(): Promise<Client>
}

export type Client = AsyncDisposable & {
  readonly socket: Awaited<ReturnType<typeof openClient>>
} & TelnetPeer

/** A target that is a serial port in memory, a new one for each client. */
export function memoryTarget(opened: (port: MemoryPort) => void, options?: MemoryPortOptions): Endpoint {
  const { address, scope } = bindAddress('MEMORY:port')
  const dial = async (): Promise<Channel> => {
    const memory = openMemoryPort(options)
    opened(memory)
    const { port } = memory
    return {
      stream: port.stream,
      framing: 'stream',
      peer: { text: port.path },
      serial: port,
      abort: () => void port.stream.destroy(),
      [Symbol.asyncDispose]: () => Promise.resolve(port[Symbol.asyncDispose]()),
    }
  }
  return { address, scope, dialer: { dial } }
}

/** A relay that serves ports in memory, or another target, to clients of RFC 2217. */
export async function openServedPort(
  options: MemoryPortOptions & { readonly target?: string; readonly flow?: FlowSettings } = {},
): Promise<ServedPort> {
  const ports: MemoryPort[] = []
  const relay = await openTestRelay({
    listen: 'RFC2217-LISTEN:0,bind=127.0.0.1,fork',
    targets: [options.target ?? memoryTarget(port => ports.push(port), options)],
    ...(options.flow && { flow: options.flow }),
  })
  return {
    relay,
    ports,
    async client() {
      const socket = await openClient(relay.port)
      const peer = telnetPeer(socket)
      return Object.assign(peer, { socket, [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose]() })
    },
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  }
}
