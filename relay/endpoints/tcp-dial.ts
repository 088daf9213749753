import { closeSync } from 'node:fs'
import { isIP, Socket } from 'node:net'
import type { Address } from '../address.ts'
import type { Channel, OpenContext, Peer } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { canonicalIp } from '../ip.ts'
import { kernelOptionsOf } from '../native/kernel-options.ts'
import { openSocket } from '../native/open-socket.ts'
import type { connectOptions, socketOptions } from '../option-groups.ts'
import type { OptionValues } from '../options.ts'
import { startTimer } from '../timer.ts'
import { hostPort } from './ip-parts.ts'
import { LentReads } from './lent-reads.ts'
import { lookUp } from './names.ts'
import { nearlyFull, socketChannel } from './sockets.ts'
import { applySocketOptions } from './tcp-options.ts'

export interface TcpTarget {
  /** As the ceiling sees it; also the name of the target in errors. */
  readonly scope: Address
  readonly host: string
  readonly port: number
  readonly family: 4 | 6 | undefined
  readonly options: OptionValues<readonly [typeof socketOptions, typeof connectOptions]>
}

export const defaultConnectTimeoutMs = 10_000

/**
 * Dials a TCP target. The name is resolved once; every address that it has is checked, and the checked address is
 * what is dialled, so a name that changes its mind in between changes nothing. Addresses are tried in the
 * resolver's order and share the connect-timeout.
 */
export async function dialTcp(target: TcpTarget, cx: OpenContext): Promise<Channel> {
  const { scope, port, options } = target
  const deadline = performance.now() + (options.connectTimeout ?? defaultConnectTimeoutMs)
  const left = () => Math.max(1, deadline - performance.now())
  const candidates = await resolve(target, cx, left())
  const kernelOptions = kernelOptionsOf(options)
  const localAddress = options.bind && (await localAddressOf(options.bind, target, cx, left()))
  let failure: unknown
  for (const [index, ip] of candidates.entries()) {
    const canonical = canonicalIp(ip)
    try {
      cx.egress.check(scope, canonical)
    } catch (denial) {
      // A name may have a forbidden address beside good ones; its refusal matters when no other could be tried.
      failure ??= denial
      continue
    }
    try {
      const share = left() / (candidates.length - index)
      cx.progress?.('dialling', canonical)
      const local = { localAddress, localPort: options.sourceport }
      const reads = new LentReads()
      const family = isIP(ip) === 6 ? 6 : 4
      const fd =
        kernelOptions && (await openSocket({ type: 'stream', family, options: kernelOptions }, scope.text))
      const socket = await connected({ host: ip, port, ...local, reads, fd }, cx.signal, share, scope.text)
      cx.progress?.('connected')
      return checked(socket, reads, canonical, target, cx)
    } catch (error) {
      failure = error
      if (cx.signal.aborted || performance.now() >= deadline) break
    }
  }
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  throw RelayError.from(failure, scope.text)
}

/** The kernel's own word on who answered must be what was allowed, or be allowed itself, before a byte is sent. */
function checked(
  socket: Socket,
  reads: LentReads,
  allowed: string | undefined,
  target: TcpTarget,
  cx: OpenContext,
): Channel {
  const answered = socket.remoteAddress ?? ''
  const ip = answered === allowed ? allowed : canonicalIp(answered)
  const peer: Peer = ip === undefined ? { text: target.scope.text } : { text: hostPort(ip, target.port), ip }
  const channel = socketChannel(socket, peer, reads)
  try {
    if (ip === undefined) {
      throw new RelayError('reset', { what: target.scope.text, why: 'the far side was gone at once' })
    }
    if (ip !== allowed) cx.egress.check(target.scope, ip)
    const isMeant = target.options.sourceport === target.port
    if (!isMeant && socket.remotePort === socket.localPort && socket.remoteAddress === socket.localAddress) {
      // Where nobody listens on a port of this very host, the kernel may pick that port for us and join us to ourselves.
      throw new RelayError('refused', { what: target.scope.text, why: 'nothing listens there' })
    }
    if (nearlyFull(socket, 'all')) {
      const why = 'this process has hardly any free file descriptors left'
      throw new RelayError('exhausted', { what: target.scope.text, why, fix: 'Raise `ulimit -n`' })
    }
    applySocketOptions(socket, target.options)
    return channel
  } catch (error) {
    socket.destroy()
    throw error
  }
}

async function resolve(target: TcpTarget, cx: OpenContext, timeoutMs: number): Promise<readonly string[]> {
  const { host, family, scope } = target
  if (canonicalIp(host) !== undefined) return [host]
  const found = await lookUp(host, cx, timeoutMs, scope.text)
  const addresses = found.filter(entry => !family || entry.family === family).map(entry => entry.address)
  if (addresses.length > 0) return addresses
  const why = family && found.length > 0 ? `${host} has no IPv${family} address` : `${host} has no address`
  throw new RelayError('unresolved', { what: scope.text, why, fix: 'Check the name, or write an IP address' })
}

async function localAddressOf(bind: string, target: TcpTarget, cx: OpenContext, timeoutMs: number) {
  if (canonicalIp(bind) !== undefined) return bind
  const found = await lookUp(bind, cx, timeoutMs, target.scope.text)
  const local = found.find(entry => !target.family || entry.family === target.family)
  if (local) return local.address
  throw new RelayError('unresolved', { what: target.scope.text, why: `\`bind=${bind}\` has no address` })
}

interface Way {
  readonly host: string
  readonly port: number
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly reads: LentReads
  /** A socket to connect, in place of one of Node's making. */
  readonly fd: number | undefined
}

function connected(way: Way, signal: AbortSignal, timeoutMs: number, target: string): Promise<Socket> {
  const where = hostPort(way.host, way.port)
  const what = target.endsWith(`:${where}`) ? target : `${target} (${where})`
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      if (way.fd !== undefined) closeSync(way.fd)
      return reject(RelayError.from(signal.reason, what))
    }
    // autoSelectFamily would start a second connection of its own; here is one address and one socket.
    const { host, port, localAddress, localPort, reads, fd } = way
    const local = { ...(localAddress && { localAddress }), ...(localPort && { localPort }) }
    const socket = new Socket({
      onread: reads.onread(),
      allowHalfOpen: true,
      // Node would begin to read what is not connected yet.
      ...(fd !== undefined && { fd, pauseOnCreate: true }),
    }).connect({ host, port, ...local, autoSelectFamily: false })
    reads.attach(socket)
    // Nothing is read before somebody wants it; Node would begin as soon as the connection stands.
    socket.pause()
    const stopTimer = startTimer(timeoutMs, () => {
      const why = `no answer within ${Math.round(timeoutMs)} ms`
      failed(new RelayError('timed-out', { what, why }))
    })
    const settle = () => {
      stopTimer()
      signal.removeEventListener('abort', onAbort)
      socket.off('error', failed)
    }
    const failed = (error: Error) => {
      settle()
      socket.on('error', () => {}).destroy()
      reject(RelayError.from(error, what))
    }
    const onAbort = () => failed(RelayError.from(signal.reason, what))
    signal.addEventListener('abort', onAbort)
    socket.once('error', failed)
    socket.once('connect', () => {
      settle()
      resolve(socket)
    })
  })
}
