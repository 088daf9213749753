import { closeSync } from 'node:fs'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'
import { RelayError } from '../errors.ts'
import { type KernelOption, setKernelOptions } from './kernel-options.ts'
import { type Libc, loadLibc } from './libc.ts'

export interface SocketParts {
  readonly type: 'stream' | 'datagram'
  readonly family: 4 | 6
  readonly options: readonly KernelOption[]
  /** Where it is bound; not yet if absent. */
  readonly local?: LocalPart
}

export interface LocalPart {
  /** An IP address, of IPv6 maybe with a zone. */
  readonly host: string
  readonly port: number
  readonly reuseAddress?: boolean | undefined
  readonly reusePort?: boolean | undefined
  readonly ipv6Only?: boolean | undefined
}

const AF_INET = 2
const AF_INET6 = 10
const types = { stream: 1, datagram: 2 }
const NONBLOCK_CLOEXEC = 0o2004000

const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_REUSEPORT = 15
const IPV6 = 41
const IPV6_V6ONLY = 26

/**
 * A socket whose options are set before it is bound or connected, which is when they count. Node takes it over by its
 * descriptor. Rejects with a RelayError that says `what` needed it, and then holds nothing.
 */
export async function openSocket(parts: SocketParts, what: string): Promise<number> {
  const { type, family, options, local } = parts
  const libc = await loadLibc(what)
  let fd: number | undefined
  try {
    fd = libc.socket(family === 6 ? AF_INET6 : AF_INET, types[type] | NONBLOCK_CLOEXEC, 0)
    setKernelOptions(libc, fd, family, options, what)
    if (local) bind(libc, fd, family, local)
    return fd
  } catch (error) {
    if (fd !== undefined) closeSync(fd)
    throw RelayError.from(error, what)
  }
}

function bind(libc: Libc, fd: number, family: 4 | 6, local: LocalPart): void {
  const { host, port, reuseAddress, reusePort, ipv6Only } = local
  if (reuseAddress) set(libc, fd, SOL_SOCKET, SO_REUSEADDR, 1)
  if (reusePort) set(libc, fd, SOL_SOCKET, SO_REUSEPORT, 1)
  if (family === 6) set(libc, fd, IPV6, IPV6_V6ONLY, ipv6Only ? 1 : 0)
  const address = socketAddress(host, port)
  libc.bind(fd, address, address.length)
}

function set(libc: Libc, fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  libc.setsockopt(fd, level, option, bytes, bytes.length)
}

/** As the kernel has it: family, port, flow, address, zone. */
function socketAddress(host: string, port: number): Buffer {
  const [bare = '', zone] = host.split('%')
  const ip = Buffer.from(ipaddr.parse(bare).toByteArray())
  const isIpv6 = isIP(bare) === 6
  const address = Buffer.alloc(isIpv6 ? 28 : 16)
  address.writeUInt16LE(isIpv6 ? AF_INET6 : AF_INET, 0)
  address.writeUInt16BE(port, 2)
  ip.copy(address, isIpv6 ? 8 : 4)
  if (zone !== undefined) address.writeUInt32LE(zoneNumber(zone), 24)
  return address
}

/** The kernel then says that there is no such interface, if there is none. */
function zoneNumber(zone: string): number {
  const named = networkInterfaces()[zone]?.find(({ family }) => family === 'IPv6')
  return named && 'scopeid' in named ? (named.scopeid ?? 0) : Number(zone) || 0
}
