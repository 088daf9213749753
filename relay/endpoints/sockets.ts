import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { Channel, Peer } from '../endpoint.ts'
import type { LentReads } from './lent-reads.ts'

/** A connected stream socket as a channel. It takes the socket over, errors included. */
export function socketChannel(socket: Socket, peer: Peer, reads?: LentReads): Channel {
  let closed = socket.closed
  let closing: Promise<void> | undefined
  let wake: (() => void) | undefined
  socket.on('close', () => {
    closed = true
    reads?.closed()
    wake?.()
  })
  let resetting = false
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  socket.on('error', ignore)
  return {
    stream: socket,
    framing: 'stream',
    peer,
    borrows: true,
    ...(reads && { lender: reads }),
    abort() {
      if (resetting || socket.destroyed) return
      resetting = true
      reset(socket)
    },
    [Symbol.asyncDispose]() {
      if (!resetting) socket.destroy()
      if (closed) return Promise.resolve()
      closing ??= new Promise(resolve => {
        wake = resolve
      })
      return closing
    },
  }
}

/**
 * Closes with RST. While a shutdown is under way the kernel's reset is refused (EINVAL), and Node then loses the
 * descriptor without closing it; the shutdown of an empty queue is over within one turn of the loop, so it is awaited.
 */
function reset(socket: Socket): void {
  const shuttingDown = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
  socket.pause()
  if (shuttingDown && !socket.errored) socket.once('finish', () => resetNow(socket))
  else resetNow(socket)
}

/** Unix sockets know no RST; closing is all there is, and what they lose shows as an end. */
function resetNow(socket: Socket): void {
  try {
    socket.resetAndDestroy()
  } catch {
    socket.destroy()
  }
}

function ignore(): void {}

/**
 * Is the table of descriptors nearly full? The kernel gives out the lowest free number, so the number of a new
 * descriptor tells how full the table is, without counting. Accepting stops first (`arrivals`), dialling later
 * (`all`), and what then is left keeps revocation working: closing, writing a tombstone, answering. When it runs
 * out altogether Node closes new arrivals without a word, so that must not be reached. Unknown outside Linux.
 */
export function nearlyFull(socket: Socket, whose: 'arrivals' | 'all'): boolean {
  return nearlyFullAt(descriptor(socket), whose)
}

/** The same, of a socket whose descriptor has this number. */
export function nearlyFullAt(fd: number | undefined, whose: 'arrivals' | 'all'): boolean {
  if (fd === undefined) return false
  const reserve = Math.min(64, limit() >> 3)
  return fd >= limit() - reserve * (whose === 'arrivals' ? 2 : 1)
}

/** Node tells its number to nobody. */
export function descriptor(socket: Socket): number | undefined {
  const handle = (socket as unknown as { _handle?: { fd?: number } | null })._handle
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined
}

let knownLimit: number | undefined

function limit(): number {
  knownLimit ??= readLimit()
  return knownLimit
}

function readLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    return soft ? Number(soft) : Number.MAX_SAFE_INTEGER
  } catch {
    return Number.MAX_SAFE_INTEGER
  }
}
