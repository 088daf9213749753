import { createSocket, type Socket, type SocketOptions } from 'node:dgram'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Address } from '../address.ts'
import { RelayError } from '../errors.ts'
import { kernelOptionsOf } from '../native/kernel-options.ts'
import { openSocket } from '../native/open-socket.ts'
import type { OptionValues } from '../options.ts'
import type { IpVersion } from './ip-parts.ts'
import { nearlyFullAt } from './sockets.ts'
import type { Membership } from './udp-option-types.ts'
import type { multicastOptions, udpOptions } from './udp-options.ts'

export type UdpSocketOptions = OptionValues<readonly [typeof udpOptions, typeof multicastOptions]>

export interface Binding {
  readonly scope: Address
  /** An IP address. */
  readonly host: string
  readonly port: number
  readonly ipv6only?: boolean | undefined
  /** Whose share of the descriptors it takes. */
  readonly whose: 'arrivals' | 'all'
}

/** A bound socket with its options set. Rejects with a RelayError that names the address, and then holds nothing. */
export async function openUdp(binding: Binding, options: UdpSocketOptions): Promise<Socket> {
  const { scope, host, port, ipv6only, whose } = binding
  const version = isIP(host) === 6 ? 6 : 4
  const socket = createSocket({
    type: `udp${version}`,
    // What is dialled is an address already; and with a resolver in between, a datagram could leave after an abort.
    lookup: asItIs as NonNullable<SocketOptions['lookup']>,
    reuseAddr: options.reuseaddr ?? false,
    reusePort: options.reuseport ?? false,
    ipv6Only: ipv6only ?? false,
  })
  try {
    const fd = await preparedSocket(binding, options, version)
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.once('listening', resolve)
      socket.bind(fd === undefined ? { address: host, port, exclusive: true } : { fd, exclusive: true })
    })
    socket.removeAllListeners()
    // An error that nobody hears ends the process.
    socket.on('error', ignore)
    if (nearlyFullAt(descriptor(socket), whose)) {
      const why = 'this process has hardly any free file descriptors left'
      throw new RelayError('exhausted', { what: scope.text, why, fix: 'Raise `ulimit -n`' })
    }
    applyOptions(socket, version, options, scope.text)
    return socket
  } catch (error) {
    socket.on('error', ignore).close()
    throw RelayError.from(error, scope.text)
  }
}

/** A bound socket for Node to take over, where the address has options that Node has no call for. */
async function preparedSocket(
  { scope, host, port, ipv6only }: Binding,
  { ttl, sndbuf, rcvbuf, ...options }: UdpSocketOptions,
  family: IpVersion,
): Promise<number | undefined> {
  const kernelOptions = kernelOptionsOf(options)
  if (!kernelOptions) return undefined
  const { reuseaddr, reuseport } = options
  const local = { host, port, reuseAddress: reuseaddr, reusePort: reuseport, ipv6Only: ipv6only }
  return openSocket({ type: 'datagram', family, options: kernelOptions, local }, scope.text)
}

function applyOptions(socket: Socket, version: IpVersion, options: UdpSocketOptions, what: string): void {
  const { broadcast, ttl, sndbuf, rcvbuf, multicastTtl, multicastLoop, multicastIf } = options
  if (broadcast !== undefined) socket.setBroadcast(broadcast)
  if (ttl !== undefined) socket.setTTL(ttl)
  if (sndbuf !== undefined) socket.setSendBufferSize(sndbuf)
  if (rcvbuf !== undefined) socket.setRecvBufferSize(rcvbuf)
  if (multicastTtl !== undefined) socket.setMulticastTTL(multicastTtl)
  if (multicastLoop !== undefined) socket.setMulticastLoopback(multicastLoop)
  if (multicastIf !== undefined) socket.setMulticastInterface(interfaceOf(multicastIf, version, what))
  const { membership, membership6, sourceMembership } = options
  for (const joined of [membership, membership6, sourceMembership]) {
    if (joined) join(socket, version, joined, what)
  }
}

function join(
  socket: Socket,
  version: IpVersion,
  { group, source, on, ...joined }: Membership,
  what: string,
) {
  if (joined.version !== version) {
    const why = `its socket is of IPv${version}, and ${group} is a group of IPv${joined.version}`
    throw new RelayError('usage', {
      what,
      why,
      fix: `Write \`UDP${joined.version}-…\`, or \`pf=ip${joined.version}\``,
    })
  }
  const local = interfaceOf(on, version, what)
  if (source === undefined) socket.addMembership(group, local)
  else socket.addSourceSpecificMembership(source, group, local)
}

/** An interface as the kernel is told: by an address of its own in IPv4, by its name in IPv6. */
function interfaceOf(on: string, version: IpVersion, what: string): string {
  // All of this network is the loopback interface's, though one address of it is all that is listed.
  if (version === 4 && on.startsWith('127.') && isIP(on) === 4) return on
  const interfaces = Object.entries(networkInterfaces())
  for (const [name, addresses = []] of interfaces) {
    const own = addresses.filter(({ family }) => family === `IPv${version}`)
    if (name !== on && !own.some(({ address }) => address === on)) continue
    if (version === 6) return `::%${name}`
    if (own[0]) return name === on ? own[0].address : on
  }
  const why = `this host has no interface \`${on}\` with an IPv${version} address`
  throw new RelayError('unreachable', { what, why, fix: '`ip addr` lists them' })
}

function asItIs(
  host: string,
  _options: unknown,
  done: (error: null, address: string, family: number) => void,
): void {
  done(null, host, isIP(host))
}

/** Node tells the number to nobody, and without it nobody can tell how full the table of descriptors is. */
function descriptor(socket: Socket): number | undefined {
  const state = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol')
  const held = state && (socket as unknown as Record<symbol, { handle?: { fd?: number } | null }>)[state]
  const fd = held?.handle?.fd
  return fd !== undefined && fd >= 0 ? fd : undefined
}

function ignore(): void {}
