import type { Duplex } from 'node:stream'
import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  type ServerOptions,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { keepalive, maxMessageBytes } from '#wire/channel.ts'

/** One gRPC server without a port of its own: the front hands it connections that have shown who they are. */
export interface CallServer {
  accept(connection: Duplex): void
  /** Waits up to `graceMs` for calls that are under way, then cuts them. */
  close(graceMs: number): Promise<void>
}

interface Offer {
  readonly definition: Parameters<Server['addService']>[0]
  readonly implementation: UntypedServiceImplementation
}

export interface CallServerOptions {
  readonly offers: readonly Offer[]
  /** Largest message that a caller may send. */
  readonly maxRequestBytes: number
  /** A call has arrived from this peer. */
  called(peer: string): void
}

/** Streams and header lists are unlimited by default, and one caller could fill the memory with either. */
const limits: ServerOptions = {
  'grpc.max_concurrent_streams': 64,
  'grpc-node.max_session_memory': 32,
  'grpc.max_metadata_size': 16_384,
  'grpc.max_send_message_length': maxMessageBytes,
}

export function openCallServer({ offers, maxRequestBytes, called }: CallServerOptions): CallServer {
  const server = new Server({
    ...limits,
    ...keepalive,
    'grpc.max_receive_message_length': maxRequestBytes,
    interceptors: [
      (_, call) => {
        called(call.getPeer())
        return call as never
      },
    ],
  })
  for (const { definition, implementation } of offers) server.addService(definition, implementation)
  const injector: ConnectionInjector = server.createConnectionInjector(ServerCredentials.createInsecure())
  return {
    accept: connection => injector.injectConnection(connection),
    async close(graceMs) {
      injector.drain(graceMs)
      const done = new Promise<void>(resolve => server.tryShutdown(() => resolve()))
      const cut = setTimeout(() => server.forceShutdown(), graceMs)
      await done
      clearTimeout(cut)
      injector.destroy()
    },
  }
}
