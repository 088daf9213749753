import type { TlsIdentity } from '#identity/tls.ts'
import type { Channel, TunnelWay } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import { dialTunnel, type Grant, type Place } from './dial.ts'
import { type Link, openLink } from './link.ts'
import type { Opening } from './words.ts'

export interface RouteOptions {
  /** What lies at its end, for errors: `@db-1/TCP4:127.0.0.1:5432`. */
  readonly what: string
  /** Asks the controller for the right to open one tunnel. Rejects with its reason. */
  ask(signal: AbortSignal): Promise<Grant>
  identity(): TlsIdentity
  controller(): Place
  /** A tunnel that carries nothing is kept warm for so long. */
  readonly idleMs?: number
  /** A tunnel stands, or has ended. */
  readonly changed?: (change: { tunnelId: string; way: TunnelWay; over?: RelayError }) => void
}

/**
 * The way to one address on another host. The first conversation opens a tunnel; those that follow share it, so that
 * they begin a round trip later and cost no handshake.
 */
export interface Route extends AsyncDisposable {
  /** Rejects with a RelayError: of the controller, of the way, or of the target there. */
  open(opening: Opening, signal: AbortSignal): Promise<Channel>
  /** Opens a tunnel if there is none. Rejects as `open` does. */
  warm(signal: AbortSignal): Promise<void>
  /** Cuts all its tunnels, and answers how many conversations they had; what is opened after that opens new ones. */
  cut(reason: RelayError): number
}

interface Tunnel {
  readonly link: Link
  readonly way: TunnelWay
  idle: NodeJS.Timeout | undefined
}

const defaultIdleMs = 300_000
/** More than that share a tunnel only when there is no other way. */
const mostOnOne = 1_024

export function openRoute(options: RouteOptions): Route {
  const { what, idleMs = defaultIdleMs, changed } = options
  const tunnels = new Set<Tunnel>()
  const over = new AbortController()
  let opening: Promise<Tunnel> | undefined

  async function openTunnel(): Promise<Tunnel> {
    const { signal } = over
    const grant = await options.ask(signal)
    const { socket, way } = await dialTunnel({
      grant,
      identity: options.identity(),
      controller: options.controller(),
      signal,
    })
    const link = openLink(socket, { peer: `${grant.peer.kind}/${grant.peer.name}` })
    const tunnel: Tunnel = { link, way, idle: undefined }
    tunnels.add(tunnel)
    const { tunnelId } = grant
    changed?.({ tunnelId, way })
    void link.over.then(why => {
      clearTimeout(tunnel.idle)
      tunnels.delete(tunnel)
      changed?.({ tunnelId, way, over: why })
    })
    if (signal.aborted) {
      link.abort(RelayError.from(signal.reason, what))
      throw RelayError.from(signal.reason, what)
    }
    return tunnel
  }

  const withRoom = () => [...tunnels].find(({ link }) => !link.isOver && link.streams < mostOnOne)

  /** One is opened at a time, however many wait for it. */
  function another(): Promise<Tunnel> {
    opening ??= openTunnel().finally(() => {
      opening = undefined
    })
    return opening
  }

  function settle(tunnel: Tunnel): void {
    clearTimeout(tunnel.idle)
    if (tunnel.link.isOver || tunnel.link.streams > 0) return
    const why = 'nothing has gone through it for a while'
    tunnel.idle = setTimeout(() => {
      if (tunnel.link.streams === 0) tunnel.link.abort(new RelayError('closed', { what, why }))
    }, idleMs)
    tunnel.idle.unref()
  }

  return {
    async open(wish, signal) {
      if (over.signal.aborted) throw RelayError.from(over.signal.reason, what)
      // Of the many who wait for a tunnel only so many find room in it: each looks again, and takes its place at once.
      let tunnel = withRoom()
      while (!tunnel) {
        const opened = await unlessAborted(another(), signal, what)
        // One that is over already says why.
        tunnel = opened.link.isOver ? opened : withRoom()
      }
      clearTimeout(tunnel.idle)
      try {
        const channel = await tunnel.link.open(wish, signal)
        channel.stream.once('close', () => settle(tunnel))
        // Once it is open its framing stays what it is.
        return { ...channel, peer: { ...channel.peer, way: tunnel.way } }
      } catch (thrown) {
        settle(tunnel)
        throw thrown
      }
    },
    async warm(signal) {
      settle(withRoom() ?? (await unlessAborted(another(), signal, what)))
    },
    cut(reason) {
      let streams = 0
      for (const { link } of [...tunnels]) {
        streams += link.streams
        link.abort(reason)
      }
      return streams
    },
    async [Symbol.asyncDispose]() {
      const reason = new RelayError('closed', { what, why: 'it is not needed any more' })
      over.abort(reason)
      await opening?.catch(() => {})
      for (const { link } of [...tunnels]) {
        link.abort(reason)
        await link[Symbol.asyncDispose]()
      }
    },
  }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(RelayError.from(signal.reason, what))
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
