import { fstatSync, readFileSync, readlinkSync, type Stats } from 'node:fs'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isatty, ReadStream } from 'node:tty'
import type { Channel, Peer } from '../endpoint.ts'
import { FileStream } from './file-stream.ts'
import { joinedStream } from './joined-stream.ts'

/** What is done with a descriptor. */
export interface Uses {
  readonly reads: boolean
  readonly writes: boolean
}

export interface DescriptorOptions extends Uses {
  readonly lost?: () => void
}

/** What a descriptor is, as far as it matters for how it is read and written. */
export type DescriptorKind = 'file' | 'stream' | 'terminal' | 'unusable'

/** Throws the system's error where there is no such descriptor. */
export function kindOfDescriptor(fd: number): DescriptorKind {
  const stats: Stats = fstatSync(fd)
  if (isatty(fd)) return 'terminal'
  if (stats.isFIFO() || stats.isSocket()) return 'stream'
  const known = stats.isFile() || stats.isBlockDevice() || stats.isCharacterDevice()
  return known && !isKernelObject(fd) ? 'file' : 'unusable'
}

/** An epoll instance and its like, which look like files; the event loop of this very process is one. */
function isKernelObject(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith('anon_inode:')
  } catch {
    return false
  }
}

/** What a descriptor was opened for; undefined where the system does not tell. */
export function openedFor(fd: number): Uses | undefined {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]
    const mode = Number.parseInt(flags ?? '2', 8) & 3
    return { reads: mode !== 1, writes: mode !== 0 }
  } catch {
    return undefined
  }
}

/**
 * A descriptor that this process was started with, as a stream; undefined if it is of no use. Those of stdin, stdout and
 * stderr stay open when the stream has closed. A terminal is opened anew, so that whoever uses it after us does not find
 * it changed.
 */
export function inheritedStream(fd: number, uses: Uses): Duplex | undefined {
  switch (kindOfDescriptor(fd)) {
    case 'file':
      return new FileStream(fd, { ...uses, owned: fd > 2 })
    case 'terminal':
      return joined(new ReadStream(fd, terminalOptions as object), fd, uses)
    case 'stream':
      return joined(
        new Socket({ fd, readable: uses.reads, writable: uses.writes, allowHalfOpen: true }),
        fd,
        uses,
      )
    case 'unusable':
      return undefined
  }
}

/** Node's declarations know neither: a terminal is a socket to it, and one that is only read by default. */
const terminalOptions = { readable: true, writable: true, allowHalfOpen: true }

/** Those of every process are not shut down: messages go there too, and other processes write to them. */
function joined(stream: Duplex, fd: number, { reads, writes }: Uses): Duplex {
  if (reads && writes && fd > 2) return stream
  return joinedStream(reads ? stream : undefined, writes ? stream : undefined, fd > 2)
}

/** A stream that has no reset: aborting it closes it. */
export function plainChannel(stream: Duplex, peer: Peer, { reads, writes }: Uses): Channel {
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  stream.on('error', () => {})
  return {
    stream,
    framing: 'stream',
    peer,
    ...(reads && writes ? {} : { oneWay: reads ? 'source' : 'sink' }),
    ...(stream instanceof FileStream && { mayLose: () => stream.mayLose() }),
    abort: () => void stream.destroy(),
    [Symbol.asyncDispose]() {
      stream.destroy()
      return closed
    },
  }
}
