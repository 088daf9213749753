import { type Server, Socket, type SocketConstructorOpts } from 'node:net'
import { LentReads } from './lent-reads.ts'

type Accepted = (socket: Socket, reads: LentReads | undefined) => void

/** What Node's listening socket calls for each connection. Not part of its documented interface. */
interface ListeningHandle {
  onconnection?: (error: number, handle: SocketConstructorOpts['handle']) => void
}

/**
 * Hands over what a listening server accepts: half-open, and not read before it is asked for, so that until the target
 * is open the client's bytes stay in the kernel.
 *
 * Node lets us say how a socket reads only when it makes one, and a server makes them itself. So the sockets are made
 * here, where Node is as we know it; elsewhere the server's own are taken, which read more slowly.
 */
export function onAccept(server: Server, accepted: Accepted): void {
  const listening = (server as unknown as { _handle?: ListeningHandle })._handle
  const ordinary = listening?.onconnection
  if (!listening || typeof ordinary !== 'function' || ordinary.length !== 2) {
    server.on('connection', socket => accepted(socket, undefined))
    return
  }
  listening.onconnection = (error, handle) => {
    if (error) return ordinary.call(listening, error, handle)
    const reads = new LentReads()
    const options = { handle, onread: reads.onread(), allowHalfOpen: true, pauseOnCreate: true }
    const socket = new Socket(options as SocketConstructorOpts)
    reads.attach(socket)
    accepted(socket, reads)
  }
}
