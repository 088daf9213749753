import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { getExtensionData, readTlsClientHello } from 'read-tls-client-hello'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { type Arrival, onArrival } from '#tunnel/arrivals.ts'
import type { Rendezvous } from '#tunnel/rendezvous.ts'
import { answeringLineLength, ticketInLine, ticketInServerName } from '#tunnel/ticket.ts'
import { strangerAt } from './actor.ts'
import type { Alerts } from './alerts.ts'
import { sourceOf } from './crowd.ts'
import { openStrangers } from './strangers.ts'
import { openWaitingRoom, type WaitingRoomLimits } from './waiting-room.ts'

/** The ways in which a connection is turned away before it reaches any service. */
export const turnAways = [
  'not-tls',
  'too-slow',
  'crowded-out',
  'handshake-failed',
  'resumed-session',
  'certificate-refused',
  'no-call',
  'unknown-ticket',
  'used-ticket',
] as const
export type TurnAway = (typeof turnAways)[number]

export interface FrontLimits extends WaitingRoomLimits {
  /** To make the first call after the handshake. */
  readonly firstCallMs: number
}

export const frontLimits: FrontLimits = { handshakeMs: 5_000, firstCallMs: 10_000, unfinished: 1_024 }

export interface FrontOptions {
  readonly host: string
  readonly port: number
  readonly tls: TlsOptions
  readonly limits?: FrontLimits
  readonly log: Logger
  readonly alerts: Alerts
  /** With a certificate of ours. */
  fleet(socket: TLSSocket): void
  /** With no certificate at all. */
  enrolment(socket: TLSSocket): void
  /** With a ticket: the ends of tunnels. */
  readonly tunnels: Pick<Rendezvous, 'initiator' | 'answering'>
}

/** The one port: tells apart who comes in, and lets nobody through to a server that is not theirs. */
export interface Front extends AsyncDisposable {
  readonly listening: string
  readonly turnedAway: ReadonlyMap<TurnAway, number>
  /** New handshakes use it; live connections are not touched. */
  setCertificate(tls: TlsOptions): void
  /** `peer` as gRPC names it has made a call: its first-call deadline is met. */
  called(peer: string): void
}

const handshakeRecord = 0x16
const largestRecord = 16_384
/** A fatal TLS alert, `unrecognized_name`: the clearest word that this layer has for "no such tunnel". */
const unrecognizedName = Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70])

export async function openFront(options: FrontOptions): Promise<Front> {
  const { log, alerts, limits = frontLimits } = options
  const turnedAway = new Map<TurnAway, number>()
  const open = new Set<Socket>()
  const awaitingCall = new Map<string, NodeJS.Timeout>()

  const waiting = openWaitingRoom(limits, turnAway)
  const strangers = openStrangers(socket => turnAway(socket, 'crowded-out'))
  // Node's own deadline is only there in case: the waiting room's comes first.
  const tlsServer = createTlsServer({ ...options.tls, handshakeTimeout: 2 * limits.handshakeMs })
  const server = createServer({ noDelay: true })

  function turnAway(socket: Socket, cause: TurnAway, detail?: string): void {
    turnedAway.set(cause, (turnedAway.get(cause) ?? 0) + 1)
    waiting.leave(peerOf(socket))
    log.debug(
      { event: 'front.turned-away', cause, peer: socket.remoteAddress, detail },
      'connection turned away',
    )
    socket.destroy()
  }

  async function receive(arrival: Arrival): Promise<void> {
    const { socket } = arrival
    const peer = peerOf(socket)
    open.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => {
      open.delete(socket)
      waiting.leave(peer)
    })
    waiting.enter(peer, socket)
    const first = await firstBytes(socket)
    if (!first) return
    if (first[0] === 'F'.charCodeAt(0)) return void answer(arrival, peer)
    if (first[0] !== handshakeRecord) return refusePlain(socket, first)
    if (first.length >= 5 && first.readUInt16BE(3) > largestRecord)
      return turnAway(socket, 'not-tls', 'record too large')
    let serverName: string | undefined
    try {
      serverName = getExtensionData(await readTlsClientHello(socket), 'server_name')?.serverName
    } catch (thrown) {
      if (!socket.destroyed) turnAway(socket, 'not-tls', String(thrown))
      return
    }
    if (socket.destroyed) return
    const ticket = ticketInServerName(serverName ?? '')
    if (ticket !== undefined) {
      waiting.leave(peer)
      const unmet = options.tunnels.initiator(ticket, arrival)
      if (unmet) socket.end(unrecognizedName, () => turnAway(socket, unmet))
      return
    }
    waiting.queue(peer, () => tlsServer.emit('connection', socket))
  }

  async function answer(arrival: Arrival, peer: string): Promise<void> {
    const { socket } = arrival
    const line = await lineOf(socket, answeringLineLength)
    if (line === undefined || socket.destroyed) return
    const ticket = ticketInLine(line)
    if (!ticket) return turnAwaySoon(socket, 'unknown-ticket', 'FCAT/1 refused: that is no ticket\n')
    waiting.leave(peer)
    const unmet = options.tunnels.answering(ticket, arrival)
    if (unmet)
      turnAwaySoon(socket, unmet, 'FCAT/1 refused: the ticket was late, was used, or was taken back\n')
  }

  function refusePlain(socket: Socket, first: Buffer): void {
    const line = first.toString('latin1')
    if (/^[A-Z]{3,7} \S+ HTTP\/1/.test(line)) {
      turnAwaySoon(
        socket,
        'not-tls',
        'HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n' +
          'This is the port of a fleetcat controller. It speaks TLS, to agents and to the fleetcat command.\n',
      )
    } else {
      turnAway(socket, 'not-tls')
    }
  }

  /** Lets the parting words leave before the socket goes. */
  function turnAwaySoon(socket: Socket, cause: TurnAway, words: string): void {
    socket.end(words, () => turnAway(socket, cause))
  }

  tlsServer.on('tlsClientError', (error, socket) => {
    // One that was turned away already fails once more here, without an address.
    if (socket.remoteAddress === undefined) return
    // Destroying the TLS socket destroys the raw socket below it, which is what `open` knows.
    turnAway(socket, 'handshake-failed', error.message)
  })

  tlsServer.on('secureConnection', socket => {
    const peer = peerOf(socket)
    waiting.leave(peer)
    open.add(socket)
    socket.on('error', () => {}).once('close', () => open.delete(socket))
    // A resumed session skips the client's certificate and yet counts as authorised.
    if (socket.isSessionReused()) return turnAway(socket, 'resumed-session')
    const anonymous = socket.getPeerX509Certificate() === undefined
    if (!anonymous && !socket.authorized) {
      alerts.raise(sourceOf(socket.remoteAddress), {
        by: strangerAt(peer),
        event: 'front.certificate-refused',
        outcome: 'refused',
        fields: { peer: socket.remoteAddress, why: String(socket.authorizationError) },
        words: 'a certificate that is not of this cluster, or has expired, was refused',
      })
      return turnAway(socket, 'certificate-refused', String(socket.authorizationError))
    }
    awaitingCall.set(
      peer,
      setTimeout(() => turnAway(socket, 'no-call'), limits.firstCallMs),
    )
    socket.once('close', () => called(peer))
    if (!anonymous) return options.fleet(socket)
    strangers.enter(socket)
    options.enrolment(socket)
  })

  function called(peer: string): void {
    clearTimeout(awaitingCall.get(peer))
    awaitingCall.delete(peer)
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', thrown =>
      reject(RelayError.from(thrown, `listen on ${options.host}:${options.port}`)),
    )
    server.listen(options.port, options.host, 1_024, resolve)
  })
  onArrival(server, arrival => void receive(arrival))
  const { port } = server.address() as AddressInfo

  return {
    listening: `${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`,
    turnedAway,
    called,
    setCertificate: tls => tlsServer.setSecureContext(tls),
    async [Symbol.asyncDispose]() {
      const closed = new Promise(resolve => server.close(resolve))
      // Neither `close` nor `closeAllConnections` ends what is live.
      const gone = [...open].map(socket => new Promise(resolve => socket.once('close', resolve)))
      for (const socket of open) socket.destroy()
      await Promise.all([closed, ...gone])
      waiting[Symbol.dispose]()
      for (const timer of awaitingCall.values()) clearTimeout(timer)
    },
  }
}

/** As gRPC names the peer of a call. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`
}

/** What comes up to a line's end, or so many bytes; what follows is left. Nothing if the socket ends before. */
function lineOf(socket: Socket, most: number): Promise<string | undefined> {
  return new Promise(resolve => {
    let line = Buffer.alloc(0)
    const look = () => {
      for (let chunk: Buffer | null = socket.read(); chunk; chunk = socket.read()) {
        const whole = Buffer.concat([line, chunk])
        const end = whole.indexOf('\n') + 1 || most
        line = whole.subarray(0, end)
        if (whole.length < end) continue
        socket.off('readable', look)
        if (whole.length > end) socket.unshift(whole.subarray(end))
        return resolve(line.toString('latin1'))
      }
    }
    socket.on('readable', look)
    socket.once('close', () => resolve(undefined))
    look()
  })
}

/** The first bytes, put back so that the next reader finds them too; nothing if the socket ends before. */
function firstBytes(socket: Socket): Promise<Buffer | undefined> {
  return new Promise(resolve => {
    const look = () => {
      const chunk: Buffer | null = socket.read()
      if (!chunk) return
      socket.off('readable', look)
      socket.unshift(chunk)
      resolve(chunk)
    }
    socket.on('readable', look)
    socket.once('close', () => resolve(undefined))
    socket.once('end', () => {
      socket.destroy()
      resolve(undefined)
    })
  })
}
