import type { RemoteInfo, Socket } from 'node:dgram'
import { isIP } from 'node:net'
import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { type Cidr, canonicalIp, contains } from '../ip.ts'
import type { OptionValues } from '../options.ts'
import { openDatagrams, roomPerPort } from './datagrams.ts'
import { hostPort, type IpVersion } from './ip-parts.ts'
import { defaultConnectTimeoutMs } from './tcp-dial.ts'
import { addressesOf } from './udp-names.ts'
import type { multicastOptions, udpHearingOptions, udpOptions, udpTargetOptions } from './udp-options.ts'
import { openUdp } from './udp-socket.ts'

export interface UdpTarget {
  readonly scope: Address
  readonly host: string
  readonly port: number
  readonly family: IpVersion | undefined
  /**
   * Whom its socket hears. `connected`: the target, and the kernel tells when nobody listens there. `target`: the
   * target, and silence is all there is. `anyone`: whoever the options let in.
   */
  readonly hears: 'connected' | 'target' | 'anyone'
  readonly options: OptionValues<
    readonly [typeof udpOptions, typeof multicastOptions, typeof udpTargetOptions]
  >
  readonly hearing: OptionValues<readonly [typeof udpHearingOptions]>
}

/**
 * Opens a socket that talks to a UDP target. The name is resolved once, and the address that was checked is the one
 * that is sent to. Nothing is sent yet, so nobody knows whether somebody is there.
 */
export async function dialUdp(target: UdpTarget, cx: OpenContext): Promise<Channel> {
  const { scope, options } = target
  const timeoutMs = options.connectTimeout ?? defaultConnectTimeoutMs
  let failure: unknown
  for (const ip of await addressesOf(target, cx, timeoutMs)) {
    try {
      if (cx.signal.aborted) throw cx.signal.reason
      cx.egress.check(scope, canonicalIp(ip))
      cx.progress?.('dialling', canonicalIp(ip))
      return await open(target, ip, cx, timeoutMs)
    } catch (error) {
      // A name may have a forbidden address beside good ones; its refusal matters when no other could be tried.
      if (failure === undefined || isDenial(failure)) failure = error
      if (cx.signal.aborted) break
    }
  }
  throw RelayError.from(failure, scope.text)
}

async function open(target: UdpTarget, ip: string, cx: OpenContext, timeoutMs: number): Promise<Channel> {
  const { scope, port, options, hears } = target
  const version = isIP(ip) === 6 ? 6 : 4
  const local = {
    host: options.bind?.host ?? (version === 6 ? '::' : '0.0.0.0'),
    family: version,
    scope,
  } as const
  const [host] = await addressesOf(local, cx, timeoutMs)
  const binding = {
    scope,
    host: host!,
    port: options.sourceport ?? options.bind?.port ?? 0,
    whose: 'all',
  } as const
  const socket = await openUdp(binding, options)
  try {
    if (hears === 'connected') await connect(socket, ip, target, cx)
    if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  } catch (error) {
    socket.close()
    throw RelayError.from(error, scope.text)
  }
  const to = hears === 'connected' ? [] : ([port, ip] as const)
  const canonical = canonicalIp(ip)
  const { nullEof, shutNull } = options
  const datagrams = openDatagrams(
    {
      send: (datagram, done) =>
        socket.send(datagram, ...(to as [number, string]), (error: Error | null) =>
          done(error && said(error, target)),
        ),
      close: done => void socket.close(done),
      dropped: () => {},
    },
    {
      peer: { text: hostPort(canonical ?? ip, port), ...(canonical !== undefined && { ip: canonical }) },
      room: { left: roomPerPort },
      nullEof,
      shutNull,
    },
  )
  const isHeard = hearing(target, canonical, cx)
  socket.on('message', (datagram, from) => {
    if (isHeard(from)) datagrams.receive(datagram)
  })
  socket.on('error', error => datagrams.fail(RelayError.from(error, scope.text)))
  return datagrams.channel
}

async function connect(socket: Socket, ip: string, target: UdpTarget, cx: OpenContext): Promise<void> {
  const { scope, port } = target
  await new Promise<void>((resolve, reject) => {
    socket.connect(port, ip, (error?: Error) => (error ? reject(said(error, target)) : resolve()))
  })
  // The kernel's own word on who is talked to must be what was allowed, or be allowed itself, before a byte is sent.
  const remote = socket.remoteAddress()
  if (remote.address !== ip) cx.egress.check(scope, canonicalIp(remote.address))
  const local = socket.address()
  const isMeant = (target.options.sourceport ?? target.options.bind?.port) === port
  if (!isMeant && remote.port === local.port && remote.address === local.address) {
    // Where nobody listens on a port of this very host, the kernel may pick that port for us and join us to ourselves.
    throw new RelayError('refused', { what: scope.text, why: 'nothing listens there' })
  }
}

/** Whose datagrams are taken for those of this conversation. */
function hearing(target: UdpTarget, ip: string | undefined, cx: OpenContext): (from: RemoteInfo) => boolean {
  const { port, options, hears } = target
  const { range, allow, deny, ignorePeerport } = target.hearing
  if (hears === 'connected') return () => true
  if (hears === 'target') return from => from.port === port && canonicalIp(from.address) === ip
  const welcome = [...(range ?? []), ...(allow ?? [])]
  const isPortFixed = options.sourceport !== undefined && !ignorePeerport
  return ({ address, port: from }) => {
    if (isPortFixed && from !== port) return false
    const sender = canonicalIp(address)
    if (welcome.length > 0 && !within(welcome, sender)) return false
    return !within(deny ?? [], sender) && (cx.hears?.(sender) ?? true)
  }
}

function within(networks: readonly Cidr[], ip: string | undefined): boolean {
  return ip !== undefined && networks.some(network => contains(network, ip))
}

/** The kernel's reason, with what to do about the one that has little to do with rights. */
function said(error: Error, { scope, options }: UdpTarget): RelayError {
  if ((error as NodeJS.ErrnoException).code !== 'EACCES' || options.broadcast)
    return RelayError.from(error, scope.text)
  const why = 'the kernel sends to a broadcast address only when it is asked to (EACCES)'
  return new RelayError('denied', { what: scope.text, why, fix: 'Add `broadcast`', cause: error })
}

function isDenial(error: unknown): boolean {
  return error instanceof RelayError && error.code === 'denied'
}
