import type { Server, Socket } from 'node:net'
import { onAccept } from '#relay/endpoints/accept.ts'
import type { LentReads } from '#relay/endpoints/lent-reads.ts'

/** A connection that may turn out to be an end of a tunnel. */
export interface Arrival {
  readonly socket: Socket
  /** How it reads without memory of its own, where it can. */
  readonly reads?: LentReads | undefined
}

/** Hands over what arrives at a port where tunnels meet, so that its bytes can be passed on quickly. */
export function onArrival(server: Server, arrived: (arrival: Arrival) => void): void {
  onAccept(server, (socket, reads) => {
    // Only tunnels are read by who knows what is lent; nobody else here has to do with half-open connections.
    socket.allowHalfOpen = false
    socket.setNoDelay(true)
    socket.once('close', () => reads?.closed())
    arrived({ socket, reads })
  })
}
