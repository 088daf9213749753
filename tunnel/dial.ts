import { connect, type TLSSocket } from 'node:tls'
import { type Expected, type TlsIdentity, tunnelClientOptions } from '#identity/tls.ts'
import type { TunnelWay } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import { BriefReads } from './brief-reads.ts'
import { serverNameOf, type Ticket } from './ticket.ts'

export interface Place {
  readonly host: string
  readonly port: number
}

/** What the controller gives to whoever may open one tunnel. */
export interface Grant {
  readonly tunnelId: string
  readonly ticket: Ticket
  /** Who has to be at the other end, and nobody else. */
  readonly peer: Omit<Expected, 'cluster'>
  /** Where the answering agent can be reached without the controller, if it offers that. */
  readonly straight: readonly Place[]
}

export interface Dialling {
  readonly grant: Grant
  readonly identity: TlsIdentity
  /** The controller's one port. */
  readonly controller: Place
  readonly signal: AbortSignal
}

/** Without an answer by then the straight way is given up for the one that the controller joins. */
const straightMs = 200
const throughControllerMs = 10_000
/** For whoever has shown who he is to say that we are expected. */
const welcomeMs = 2_000

/** Opens the tunnel that was granted. Rejects with a RelayError when its other end is not the one that was named. */
export async function dialTunnel(dialling: Dialling): Promise<{ socket: TLSSocket; way: TunnelWay }> {
  const { grant, controller } = dialling
  const what = `the tunnel to ${grant.peer.kind}/${grant.peer.name}`
  const deadline = performance.now() + straightMs
  for (const place of grant.straight) {
    const left = deadline - performance.now()
    if (left <= 0) break
    try {
      const socket = await shakeHands(dialling, place, left, what)
      await welcomed(socket, dialling.signal, what)
      return { socket, way: 'straight' }
    } catch (thrown) {
      if (dialling.signal.aborted) throw thrown
      // Who answers in its place is not whom we were told of. The controller may still find the right one.
    }
  }
  return { socket: await shakeHands(dialling, controller, throughControllerMs, what), way: 'controller' }
}

/**
 * In TLS 1.3 this end is done before the other has looked at it, and at the ticket, of which it may not have heard yet.
 * A link begins with a question: its first byte says that we are in.
 */
async function welcomed(tls: TLSSocket, signal: AbortSignal, what: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const refuse = () => reject(new RelayError('denied', { what, why: 'its straight port does not expect us' }))
  const onAbort = () => reject(RelayError.from(signal.reason, what))
  const onReadable = () => {
    if (tls.readableLength > 0) resolve()
  }
  const timer = setTimeout(refuse, welcomeMs)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  tls.once('close', refuse).on('readable', onReadable)
  try {
    await promise
  } catch (thrown) {
    setImmediate(() => tls.destroy())
    throw thrown
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    tls.off('close', refuse).off('readable', onReadable)
  }
}

async function shakeHands(
  { grant, identity, signal }: Dialling,
  { host, port }: Place,
  withinMs: number,
  what: string,
): Promise<TLSSocket> {
  const reads = new BriefReads()
  const tls = connect({
    ...{ host, port, onread: reads.onread() },
    servername: serverNameOf(grant.ticket),
    ...tunnelClientOptions(identity, grant.peer),
  })
  reads.attach(tls)
  tls.setNoDelay(true).setKeepAlive(true)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = () => reject(RelayError.from(signal.reason, what))
  const why = `no answer within ${Math.round(withinMs)} ms`
  const timer = setTimeout(() => reject(new RelayError('timed-out', { what, why })), withinMs)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  tls.on('error', thrown => reject(inHandshake(thrown, what)))
  tls.once('close', () =>
    reject(new RelayError('reset', { what, why: 'it was closed during the handshake' })),
  )
  tls.once('secureConnect', resolve)
  try {
    await promise
    return tls
  } catch (thrown) {
    // Not in the middle of a call into OpenSSL, which may be what tells of the error.
    setImmediate(() => tls.destroy())
    throw thrown
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

function inHandshake(thrown: Error & { code?: string }, what: string): RelayError {
  if (thrown.code === 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME' || /unrecognized name/i.test(thrown.message)) {
    const why = 'the controller does not know the ticket any more: it was late, was used, or was taken back'
    return new RelayError('denied', { what, why, fix: 'Try again: each try gets a ticket of its own' })
  }
  return RelayError.from(thrown, what)
}
