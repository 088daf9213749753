import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import koffi from 'koffi'
import type { Channel } from '#relay/endpoint.ts'

const getsockopt = koffi
  .load(null)
  .func('int getsockopt(int fd, int level, int option, void *value, void *length)')

/** What the kernel says of an option, by its own numbers. */
export function sockopt(fd: number, level: number, option: number): number {
  const value = Buffer.alloc(16)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(value.length)
  if (getsockopt(fd, level, option, value, length) !== 0)
    throw new Error(`getsockopt: errno ${koffi.errno()}`)
  return value.readUInt32LE()
}

/** The descriptor of a channel's TCP socket. */
export function fdOf({ stream }: Channel): number {
  return (stream as unknown as { _handle: { fd: number } })._handle.fd
}

/** The descriptors of this process that the kernel's table of sockets has with this local port: `tcp`, `udp6`, …. */
export function fdsOf(table: string, port: number): number[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = readFileSync(`/proc/net/${table}`, 'latin1').split('\n').slice(1)
  const inodes = rows
    .map(row => row.trim().split(/\s+/))
    .filter(([, local = '']) => local.endsWith(suffix))
    .map(columns => `socket:[${columns[9]}]`)
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter(fd => inodes.includes(targetOf(fd)))
}

function targetOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    // the descriptor of this very listing is closed by now
    return ''
  }
}
