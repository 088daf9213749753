import type { Duplex } from 'node:stream'
import {
  connect,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import type { Channel, Layer, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { startTimer } from '../timer.ts'
import { tlsChannel } from './tls-channel.ts'
import { checkPeer, type PeerRules } from './tls-peer.ts'

export interface TlsClient {
  /** The address, for errors. */
  readonly what: string
  readonly context: SecureContext
  /** Sent in clear, so that the server picks the right certificate. */
  readonly serverName: string | undefined
  readonly alpn: readonly string[] | undefined
  readonly peer: PeerRules
}

export interface TlsServer {
  readonly what: string
  readonly options: TlsOptions
  /** Does the client have to show a certificate? */
  readonly asks: boolean
  readonly peer: PeerRules
}

/** TLS over any channel, as the side that speaks first. */
export function tlsClient({ what, context, serverName, alpn, peer }: TlsClient, withinMs: number): Layer {
  return async (inner, cx) => {
    cx.progress?.('securing')
    const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>()
    const tls = connect({
      socket: inner.stream,
      secureContext: context,
      // Said aloud, because otherwise an environment variable can switch it off.
      rejectUnauthorized: peer.verified,
      // The rules are checked below, for both sides alike.
      checkServerIdentity: () => undefined,
      ...(serverName && { servername: serverName }),
      ...(alpn && { ALPNProtocols: [...alpn] }),
    })
    tls.on('error', reject).once('secureConnect', () => resolve(tls))
    tls.once('close', () => reject(hungUp()))
    return await established({ inner, cx, what, withinMs, peer, handshake: promise })
  }
}

/** The side that answers. */
export interface Answering {
  readonly layer: Layer
  /** For handshakes from now on; who is through already notices nothing. */
  setCertificate(options: SecureContextOptions): void
}

/** TLS over any channel, as the side that answers. One server takes any number of channels. */
export function tlsServer({ what, options, asks, peer }: TlsServer, withinMs: number): Answering {
  const handshakes = new Map<Duplex | undefined, PromiseWithResolvers<TLSSocket>>()
  // It never listens: it is there for what Node does around a server's handshake.
  const server = createServer({ ...options, requestCert: asks, rejectUnauthorized: asks && peer.verified })
  server.on('secureConnection', tls => handshakes.get(below(tls))?.resolve(tls.on('error', ignore)))
  server.on('tlsClientError', (error, tls) => {
    handshakes.get(below(tls))?.reject(tls.authorizationError ? verdict(tls.authorizationError) : error)
  })
  const layer: Layer = async (inner, cx) => {
    const handshake = Promise.withResolvers<TLSSocket>()
    handshakes.set(inner.stream, handshake)
    // Node tells why a moment later, if it knows.
    const onClose = () => setImmediate(() => handshake.reject(hungUp()))
    inner.stream.once('close', onClose)
    try {
      server.emit('connection', inner.stream)
      return await established({ inner, cx, what, withinMs, peer, handshake: handshake.promise })
    } finally {
      handshakes.delete(inner.stream)
      inner.stream.off('close', onClose)
    }
  }
  return { layer, setCertificate: renewed => server.setSecureContext(renewed) }
}

interface Handshake {
  readonly inner: Channel
  readonly cx: OpenContext
  readonly what: string
  readonly withinMs: number
  readonly peer: PeerRules
  readonly handshake: Promise<TLSSocket>
}

async function established({ inner, cx, what, withinMs, peer, handshake }: Handshake): Promise<Channel> {
  const { promise: givenUp, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(RelayError.from(cx.signal.reason, what))
  const why = `the TLS handshake was not over within ${Math.round(withinMs)} ms`
  const stopTimer = startTimer(withinMs, () => reject(new RelayError('timed-out', { what, why })))
  cx.signal.addEventListener('abort', onAbort)
  if (cx.signal.aborted) onAbort()
  try {
    const tls = await Promise.race([handshake, givenUp])
    await outOfOpenssl()
    if (tls.destroyed) throw tls.errored ?? hungUp()
    const identity = checkPeer(tls, peer, what)
    cx.progress?.('secured')
    const certificate = () => tls.getPeerX509Certificate()
    return tlsChannel(tls, inner, {
      ...inner.peer,
      ...(identity !== undefined && { identity, certificate }),
    })
  } catch (thrown) {
    const error = inHandshake(thrown, what)
    // What TLS itself refuses it has told the far side, and a reset could overtake that.
    if (thrown instanceof RelayError) inner.abort(error)
    await inner[Symbol.asyncDispose]()
    throw error
  } finally {
    stopTimer()
    cx.signal.removeEventListener('abort', onAbort)
  }
}

/**
 * The end of a handshake is told in the middle of a call into OpenSSL: who destroys the session there, or whatever it
 * runs on, takes it away from under that call, which ends the process. Tickets leave only after that call, too.
 */
function outOfOpenssl(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

function inHandshake(thrown: unknown, what: string): RelayError {
  const error = RelayError.from(thrown, what)
  if (error.code !== 'reset' || error.cause !== thrown || !isReset(thrown)) return error
  return new RelayError('reset', {
    what,
    why: 'the far side closed the connection in the middle of the TLS handshake',
    fix: 'See what it logs; it may not speak TLS, or not like the certificate that it was shown',
    cause: thrown,
  })
}

function isReset(thrown: unknown): boolean {
  return ['ECONNRESET', 'EPIPE'].includes((thrown as NodeJS.ErrnoException).code ?? '')
}

function hungUp(): Error {
  return Object.assign(new Error('closed during the handshake'), { code: 'ECONNRESET' })
}

/** The reason for which Node let go of a client whose handshake was fine: a code, whatever its type says. */
function verdict(reason: unknown): Error {
  return reason instanceof Error ? reason : Object.assign(new Error(String(reason)), { code: String(reason) })
}

/**
 * What a server's session runs on: Node tells of sessions, and not of what they were made of. A stream without a
 * descriptor is wrapped once more. Undefined for a session that is closed already.
 */
function below(tls: TLSSocket): Duplex | undefined {
  const { ssl, _parent } = tls as unknown as Inside
  const wrap = ssl?._parentWrap ?? _parent
  return wrap?.stream ?? wrap ?? undefined
}

interface Inside {
  readonly ssl: { readonly _parentWrap?: Duplex & { readonly stream?: Duplex } } | null
  readonly _parent?: Duplex & { readonly stream?: Duplex }
}

function ignore(): void {}
