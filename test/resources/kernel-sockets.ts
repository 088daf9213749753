import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface KernelSocket {
  readonly protocol: 'tcp' | 'udp'
  readonly listens: boolean
  readonly localPort: number
  readonly remotePort: number
  /** As `127.0.0.1:4000`; of IPv6 in the kernel's own spelling. */
  readonly remote: string
}

const tables = ['tcp', 'tcp6', 'udp', 'udp6'] as const
const listening = '0A'

/** The IP sockets that this process holds, as the kernel tells of them; none if it has ended. */
export function kernelSockets(pid: number): KernelSocket[] {
  const inodes = socketInodes(pid)
  return tables.flatMap(table =>
    rowsOf(pid, table)
      .filter(([, , , , , , , , , inode]) => inodes.has(inode ?? ''))
      .map(([, local = '', remote = '', state]) => ({
        protocol: table.startsWith('tcp') ? ('tcp' as const) : ('udp' as const),
        listens: state === listening,
        localPort: portOf(local),
        remotePort: portOf(remote),
        remote: `${ipOf(remote)}:${portOf(remote)}`,
      })),
  )
}

/** What each descriptor of this process is: `socket:[4711]`, `/var/log/app.log`. None if it has ended. */
export function descriptorsOf(pid: number): string[] {
  const found: string[] = []
  for (const fd of orNothing(() => readdirSync(`/proc/${pid}/fd`))) {
    try {
      found.push(readlinkSync(`/proc/${pid}/fd/${fd}`))
    } catch {
      // it was closed since it was listed
    }
  }
  return found
}

function socketInodes(pid: number): Set<string> {
  return new Set(descriptorsOf(pid).flatMap(text => /^socket:\[(\d+)\]$/.exec(text)?.[1] ?? []))
}

function rowsOf(pid: number, table: string): string[][] {
  const lines = orNothing(() =>
    readFileSync(`/proc/${pid}/net/${table}`, 'latin1').trim().split('\n').slice(1),
  )
  return lines.map(line => line.trim().split(/\s+/))
}

function orNothing<T>(look: () => T[]): T[] {
  try {
    return look()
  } catch (thrown) {
    if (['ENOENT', 'ESRCH', 'EINVAL'].includes((thrown as NodeJS.ErrnoException).code ?? '')) return []
    throw thrown
  }
}

const portOf = (text: string) => Number.parseInt(text.slice(text.indexOf(':') + 1), 16)

function ipOf(text: string): string {
  const hex = text.slice(0, text.indexOf(':'))
  if (hex.length !== 8) return hex
  const bytes = Buffer.from(hex, 'hex').reverse()
  return [...bytes].join('.')
}
