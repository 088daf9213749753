import { isIP, type ListenOptions, type Socket } from 'node:net'
import { type KernelOption, perConnection, setKernelOptions } from '../native/kernel-options.ts'
import { loadLibc } from '../native/libc.ts'
import { openSocket } from '../native/open-socket.ts'
import { descriptor } from './sockets.ts'

export interface TcpBinding {
  /** An IP address. */
  readonly host: string
  readonly port: number
  readonly backlog: number
  readonly ipv6Only: boolean
  readonly reusePort: boolean
}

/** Node takes a descriptor too, though its types do not say so. */
export type Listening = ListenOptions & { readonly fd?: number }

/**
 * What Node is told to listen on: the address, or where there are options that Node has no call for a bound socket
 * that has them, and hands them on to what is accepted from it.
 */
export async function listenOptionsOf(
  binding: TcpBinding,
  options: readonly KernelOption[] | undefined,
  what: string,
): Promise<Listening> {
  if (!options) return { ...binding, exclusive: true }
  const { backlog, ...local } = binding
  const fd = await openSocket(
    { type: 'stream', family: familyOf(local.host), options, local: { ...local, reuseAddress: true } },
    what,
  )
  return { fd, backlog, exclusive: true }
}

/** Sets what a connection does not have from its listener; undefined where there is nothing of that sort. */
export async function setterOfEach(
  options: readonly KernelOption[] | undefined,
  host: string,
  what: string,
): Promise<((socket: Socket) => void) | undefined> {
  const own = perConnection(options)
  if (!own) return undefined
  const libc = await loadLibc(what)
  return socket => {
    const fd = descriptor(socket)
    if (fd !== undefined) setKernelOptions(libc, fd, familyOf(host), own, what)
  }
}

/** May a client come from this port, as `sourceport` and `lowport` have it? */
export function mayComeFrom(
  port: number | undefined,
  { sourceport, lowport }: { readonly sourceport?: number; readonly lowport?: boolean },
): boolean {
  if (sourceport !== undefined && port !== sourceport) return false
  return !lowport || (port !== undefined && port < 1_024)
}

function familyOf(host: string): 4 | 6 {
  return isIP(host) === 6 ? 6 : 4
}
