import { createServer, type Server, type Socket } from 'node:net'
import type { Address } from '../address.ts'
import type { Listener, OpenContext, Peer } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { canonicalIp } from '../ip.ts'
import { kernelOptionsOf } from '../native/kernel-options.ts'
import type { listenOptions, socketOptions } from '../option-groups.ts'
import type { OptionValues } from '../options.ts'
import { startTimer } from '../timer.ts'
import { onAccept } from './accept.ts'
import { openArrivals } from './arrivals.ts'
import { hostPort } from './ip-parts.ts'
import { lookUp } from './names.ts'
import { nearlyFull, socketChannel } from './sockets.ts'
import { defaultConnectTimeoutMs } from './tcp-dial.ts'
import { type Listening, listenOptionsOf, mayComeFrom, setterOfEach } from './tcp-kernel.ts'
import { applySocketOptions } from './tcp-options.ts'

export interface TcpListenTarget {
  readonly scope: Address
  readonly host: string
  readonly port: number
  readonly family: 4 | 6 | undefined
  readonly options: OptionValues<readonly [typeof socketOptions, typeof listenOptions]>
}

/** What the kernel keeps waiting, and what we keep waiting, unless the address says otherwise. */
export const defaultBacklog = 511

/** Listens for TCP connections. */
export async function listenTcp(target: TcpListenTarget, cx: OpenContext): Promise<Listener> {
  const { scope, port, options } = target
  const host = await bindAddress(target, cx)
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  const backlog = options.backlog ?? defaultBacklog
  const kernelOptions = kernelOptionsOf(options)
  const setEach = await setterOfEach(kernelOptions, host, scope.text)
  const binding = { host, port, backlog, ipv6Only: options.ipv6only ?? false }
  const binds = { ...binding, reusePort: options.reuseport ?? false }
  await listening(server, await listenOptionsOf(binds, kernelOptions, scope.text), scope.text)
  if (cx.signal.aborted) {
    server.close()
    throw RelayError.from(cx.signal.reason, scope.text)
  }
  const bound = server.address() as { address: string; port: number }
  const { acceptTimeout = Infinity } = options
  const stopWaiting = startTimer(acceptTimeout, () => {
    const why = `nobody has connected within ${acceptTimeout} ms`
    arrivals.fail(new RelayError('timed-out', { what: scope.text, why }))
  })
  const arrivals = openArrivals(cx, {
    local: hostPort(bound.address, bound.port),
    fork: options.fork ?? false,
    queue: backlog,
    // The listening socket closes within the call. The callback would come when the last accepted connection is
    // over, and those belong to others.
    close() {
      stopWaiting()
      server.close()
    },
  })
  onAccept(server, (socket, reads) => {
    const peer = peerOf(socket)
    const channel = socketChannel(socket, peer, reads)
    if (!mayComeFrom(socket.remotePort, options)) {
      channel.abort(new RelayError('denied', { what: scope.text, why: 'its source port is not served' }))
      cx.turnedAway?.('source-port', peer)
      return
    }
    stopWaiting()
    if (nearlyFull(socket, 'arrivals')) {
      channel.abort(new RelayError('exhausted', { what: scope.text }))
      cx.turnedAway?.('descriptors', peer)
      return
    }
    applySocketOptions(socket, options)
    setEach?.(socket)
    arrivals.offer(channel)
  })
  server.on('error', error => arrivals.fail(RelayError.from(error, scope.text)))
  return arrivals
}

/** A client that has already left has no address any more; its channel ends by itself. */
function peerOf(socket: Socket): Peer {
  const written = socket.remoteAddress ?? ''
  // What the kernel says of an IPv4 socket is canonical already; on an IPv6 one it may be a mapped IPv4 address.
  const ip = socket.remoteFamily === 'IPv4' ? written : canonicalIp(written)
  return ip === undefined
    ? { text: 'a client that has left' }
    : { text: hostPort(ip, socket.remotePort ?? 0), ip, local: () => localOf(socket) }
}

function localOf({ localAddress = '', localPort: port }: Socket): ReturnType<NonNullable<Peer['local']>> {
  const address = canonicalIp(localAddress)
  return address === undefined || port === undefined ? undefined : { address, port }
}

async function bindAddress({ host, family, scope }: TcpListenTarget, cx: OpenContext): Promise<string> {
  if (canonicalIp(host) !== undefined) return host
  const found = await lookUp(host, cx, defaultConnectTimeoutMs, scope.text)
  const local = found.find(entry => !family || entry.family === family)
  if (local) return local.address
  throw new RelayError('unresolved', { what: scope.text, why: `\`bind=${host}\` has no such address` })
}

function listening(server: Server, options: Listening, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => reject(RelayError.from(error, what))
    server.once('error', failed)
    server.listen(options, () => {
      server.off('error', failed)
      resolve()
    })
  })
}
