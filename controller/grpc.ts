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
  /** How long a connection may last, where calls are short, and what a call under way then still gets. */
  readonly stay?: { readonly maxConnectionAgeMs: number; readonly graceMs: number }
  /** A call has arrived from this peer. */
  called(peer: string): void
}

/**
 * Streams are unlimited by default, and one caller could fill the memory with them. Of header lists Node itself takes
 * no more than 128 pairs or 64 KiB, and there is no option of gRPC's to say less.
 */
const limits: ServerOptions = {
  'grpc.max_concurrent_streams': 64,
  'grpc-node.max_session_memory': 32,
  'grpc.max_send_message_length': maxMessageBytes,
  // Its records of every call and connection cost memory, and nobody here can ask for them.
  'grpc.enable_channelz': 0,
}

export function openCallServer({ offers, maxRequestBytes, stay, called }: CallServerOptions): CallServer {
  const server = new Server({
    ...limits,
    ...keepalive,
    'grpc.max_receive_message_length': maxRequestBytes,
    ...(stay && {
      'grpc.max_connection_age_ms': stay.maxConnectionAgeMs,
      'grpc.max_connection_age_grace_ms': stay.graceMs,
    }),
    interceptors: [
      (_, call) => {
        called(call.getPeer())
        return call as never
      },
    ],
  })
  for (const { definition, implementation } of offers) server.addService(definition, implementation)
  const injector: ConnectionInjector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const connections = new Map<Duplex, Promise<void>>()
  return {
    accept(connection) {
      const closed = new Promise<void>(resolve => connection.once('close', resolve))
      connections.set(connection, closed)
      void closed.then(() => connections.delete(connection))
      injector.injectConnection(connection)
    },
    async close(graceMs) {
      // Node ends the sessions as it closes their server, and grpc-js takes that for the end of their connections. What
      // is still being said is only out once these are closed themselves.
      server.tryShutdown(() => {})
      const graceOver = Promise.withResolvers<void>()
      const grace = setTimeout(graceOver.resolve, graceMs)
      await Promise.race([Promise.all(connections.values()), graceOver.promise])
      clearTimeout(grace)
      server.forceShutdown()
      injector.destroy()
    },
  }
}
