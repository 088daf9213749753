import { RelayError } from '../errors.ts'
import type { OptionValues } from '../options.ts'
import type { ipKernelOptions, listenKernelOptions, tcpKernelOptions, tosOption } from '../socket-options.ts'
import type { Libc } from './libc.ts'

/** A level and an option of it, by the kernel's numbers. */
type At = readonly [level: number, option: number]

interface Row {
  readonly name: string
  readonly at: At
  /** For IPv6 sockets, which take the other as well, for the IPv4 that they may carry. */
  readonly at6?: At
  bytes(value: never): Buffer
}

const SOL_SOCKET = 1
const IP = 0
const IPV6 = 41
const TCP = 6

type Groups = readonly [
  typeof ipKernelOptions,
  typeof tcpKernelOptions,
  typeof listenKernelOptions,
  typeof tosOption,
]
type Key = Exclude<keyof OptionValues<Groups>, 'quickack'>

const rows: { readonly [K in Key]: Row } = {
  sndbuf: { name: 'sndbuf', at: [SOL_SOCKET, 7], bytes: number },
  rcvbuf: { name: 'rcvbuf', at: [SOL_SOCKET, 8], bytes: number },
  interface: { name: 'interface', at: [SOL_SOCKET, 25], bytes: (value: string) => Buffer.from(`${value}\0`) },
  mark: { name: 'so-mark', at: [SOL_SOCKET, 36], bytes: number },
  priority: { name: 'so-priority', at: [SOL_SOCKET, 12], bytes: number },
  linger: { name: 'linger', at: [SOL_SOCKET, 13], bytes: () => Buffer.concat([number(1), number(0)]) },
  ttl: { name: 'ttl', at: [IP, 2], at6: [IPV6, 16], bytes: number },
  trafficClass: { name: 'tos', at: [IP, 1], at6: [IPV6, 67], bytes: number },
  mtuDiscover: { name: 'mtudiscover', at: [IP, 10], at6: [IPV6, 23], bytes: number },
  freebind: { name: 'ip-freebind', at: [IP, 15], at6: [IPV6, 78], bytes: number },
  transparent: { name: 'ip-transparent', at: [IP, 19], at6: [IPV6, 75], bytes: number },
  mss: { name: 'mss', at: [TCP, 2], bytes: number },
  windowClamp: { name: 'tcp-window-clamp', at: [TCP, 10], bytes: number },
  userTimeout: { name: 'tcp-user-timeout', at: [TCP, 18], bytes: number },
  syncnt: { name: 'syncnt', at: [TCP, 7], bytes: number },
  linger2: { name: 'linger2', at: [TCP, 8], bytes: number },
  cork: { name: 'cork', at: [TCP, 3], bytes: number },
  deferAccept: { name: 'defer-accept', at: [TCP, 9], bytes: (ms: number) => number(Math.ceil(ms / 1_000)) },
}

/** Options that are for the kernel itself, as they are set. */
export type KernelOption = readonly [row: Row, value: Buffer]

/** Those of them that an address has, or undefined where it has none: all is as it would be without them then. */
export function kernelOptionsOf(options: object): readonly KernelOption[] | undefined {
  let found: KernelOption[] | undefined
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(rows, key)) continue
    const row = rows[key as Key]
    found ??= []
    found.push([row, row.bytes(value as never)])
  }
  return found
}

/** What a connection does not have from the socket that it was accepted from. */
export function perConnection(
  options: readonly KernelOption[] | undefined,
): readonly KernelOption[] | undefined {
  const own = options?.filter(([row]) => row === rows.priority)
  return own && own.length > 0 ? own : undefined
}

/** Throws a RelayError that names the option which the kernel refuses. */
export function setKernelOptions(
  libc: Libc,
  fd: number,
  family: 4 | 6,
  options: readonly KernelOption[],
  what: string,
): void {
  for (const [{ name, at, at6 }, value] of options) {
    for (const [level, option] of family === 6 && at6 ? [at6, at] : [at]) {
      try {
        libc.setsockopt(fd, level, option, value, value.length)
      } catch (error) {
        throw explained(error as NodeJS.ErrnoException, name, value, what)
      }
    }
  }
}

function explained(error: NodeJS.ErrnoException, name: string, value: Buffer, what: string): RelayError {
  const refuse = (code: 'denied' | 'not-found' | 'unsupported', why: string, fix: string) =>
    new RelayError(code, { what, why, fix, cause: error })
  switch (error.code) {
    case 'EPERM':
    case 'EACCES':
      return refuse(
        'denied',
        `this process may not set \`${name}\``,
        'Give it CAP_NET_ADMIN, or leave it out',
      )
    case 'ENODEV': {
      const device = value.toString('utf8', 0, value.length - 1)
      return refuse('not-found', `this host has no interface \`${device}\``, '`ip link` lists them')
    }
    case 'EINVAL':
    case 'ENOPROTOOPT':
    case 'EOPNOTSUPP':
      return refuse('unsupported', `the kernel does not take this value of \`${name}\``, 'Leave it out')
    default:
      return RelayError.from(error, `${what}: setting \`${name}\``)
  }
}

function number(value: number | boolean): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(Number(value))
  return bytes
}
