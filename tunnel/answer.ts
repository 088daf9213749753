import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { type Expected, strangerProblem, type TlsIdentity, tunnelServerOptions } from '#identity/tls.ts'
import type { TunnelWay } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import { readBriefly } from './brief-reads.ts'
import type { Place } from './dial.ts'
import { openGuests } from './guests.ts'
import { answeringLine, type Ticket, ticketInServerName, ticketMs } from './ticket.ts'

/** One tunnel that this host is to answer. */
export interface ExpectedTunnel {
  readonly ticket: Ticket
  /** Who has to be at the other end, and nobody else. */
  readonly peer: Expected
}

/** Why somebody who came with a ticket, or without one, was let go. */
export type Dropped = 'unknown-ticket' | 'stranger' | 'handshake'

export interface AnsweringOptions {
  identity(): TlsIdentity
  /** Where the controller joins tunnels. */
  controller(): Place
  /** The other end has shown that it is the one that was named, for the first time. */
  answered(ticket: Ticket, socket: TLSSocket, way: TunnelWay): void
  /** Nobody came in time, or the controller could not be reached. */
  failed(ticket: Ticket, why: RelayError): void
  dropped(cause: Dropped, from: string): void
  readonly withinMs?: number
}

/** The answering end of tunnels on one host. */
export interface Answering extends AsyncDisposable {
  /**
   * Waits for whoever has the ticket: through the controller, to which it goes itself, and straight if it listens. The
   * first who proves to be the one that was named uses the ticket up.
   */
  expect(expected: ExpectedTunnel): void
  /** Nobody is expected with this ticket any more. */
  withdraw(ticket: Ticket): void
  /** Lets initiators come straight. Rejects with a RelayError when it cannot listen there. */
  listen(place: Place): Promise<Place>
}

interface Waiting {
  readonly expected: ExpectedTunnel
  readonly leg: Socket
  readonly timer: NodeJS.Timeout
}

export function openAnswering(options: AnsweringOptions): Answering {
  const { answered, failed, dropped, withinMs = ticketMs } = options
  const waiting = new Map<Ticket, Waiting>()
  const legs = new Set<Socket>()
  const guests = openGuests(socket => socket.destroy())
  let listener: Server | undefined

  function over(ticket: Ticket): Waiting | undefined {
    const found = waiting.get(ticket)
    if (!found) return undefined
    waiting.delete(ticket)
    clearTimeout(found.timer)
    return found
  }

  /** Each handshake by the identity of that moment: it may have been renewed. */
  function shakeHands(socket: Socket, way: TunnelWay): void {
    const server = createTlsServer(tunnelServerOptions(options.identity()))
    const from = `${socket.remoteAddress}`
    const done = () => {
      legs.delete(socket)
      guests.leave(socket)
    }
    server.once('tlsClientError', (_, tls) => {
      dropped('handshake', from)
      tls.destroy()
      socket.destroy()
      done()
    })
    server.once('secureConnection', tls => {
      tls.on('error', () => {})
      // Not in the middle of the call into OpenSSL that tells of it.
      setImmediate(() => {
        done()
        settle(tls, way, from)
      })
    })
    socket.once('close', done)
    server.emit('connection', socket)
  }

  function settle(tls: TLSSocket, way: TunnelWay, from: string): void {
    if (tls.destroyed) return
    const ticket = ticketInServerName(typeof tls.servername === 'string' ? tls.servername : '')
    const found = ticket ? waiting.get(ticket) : undefined
    if (!ticket || !found) {
      dropped('unknown-ticket', from)
      return void tls.destroy()
    }
    const raw = tls.getPeerX509Certificate()?.raw
    const problem =
      raw && tls.authorized ? strangerProblem(raw, found.expected.peer) : new Error('no certificate')
    if (problem || tls.isSessionReused()) {
      dropped('stranger', from)
      return void tls.destroy()
    }
    over(ticket)
    if (way === 'straight') found.leg.destroy()
    readBriefly(tls)
    answered(ticket, tls, way)
  }

  return {
    expect(expected) {
      const { ticket, peer } = expected
      const what = `the tunnel of ${peer.kind}/${peer.name}`
      const { host, port } = options.controller()
      const leg = connect({ host, port, noDelay: true, keepAlive: true })
      legs.add(leg)
      const timer = setTimeout(() => {
        over(ticket)
        leg.destroy()
        failed(ticket, new RelayError('timed-out', { what, why: `nobody came within ${withinMs} ms` }))
      }, withinMs)
      waiting.set(ticket, { expected, leg, timer })
      leg.once('connect', () => leg.write(answeringLine(ticket)))
      leg.once('readable', () => {
        // Nothing to read is its end: nobody has come.
        if (leg.readableLength > 0) shakeHands(leg, 'controller')
      })
      leg.on('error', () => {})
      leg.once('close', () => legs.delete(leg))
    },
    withdraw(ticket) {
      over(ticket)?.leg.destroy()
    },
    async listen(place) {
      const server = createTcpServer({ noDelay: true, keepAlive: true }, socket => {
        socket.on('error', () => {})
        guests.enter(socket)
        shakeHands(socket, 'straight')
      })
      listener = server
      const what = `listen for tunnels on ${place.host}:${place.port}`
      await new Promise<void>((resolve, reject) => {
        server.once('error', thrown => reject(RelayError.from(thrown, what)))
        server.listen(place.port, place.host, 511, resolve)
      })
      const address = server.address()
      return { host: place.host, port: typeof address === 'object' && address ? address.port : place.port }
    },
    async [Symbol.asyncDispose]() {
      for (const ticket of [...waiting.keys()]) over(ticket)
      for (const socket of legs) socket.destroy()
      guests[Symbol.dispose]()
      const server = listener
      if (server) await new Promise(resolve => server.close(resolve))
    },
  }
}
