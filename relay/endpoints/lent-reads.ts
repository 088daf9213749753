import type { OnReadOpts, Socket } from 'node:net'
import type { Lender } from '../endpoint.ts'

/** What a socket needs to read without memory of its own. */
export interface LentReads {
  /** For the making of the socket. */
  readonly onread: OnReadOpts
  readonly lender: Lender
  /** To be called with the socket once it exists, and before it reads. */
  attach(socket: Socket): void
  /** To be called when the socket has closed. */
  closed(): void
}

/** One for all sockets: what is read into it is copied out before any other read can begin. */
const shared = Buffer.allocUnsafeSlow(64 * 1024)

/** For sockets that have more than that to say. There are so many and no more, however many connections there are. */
const largeSize = 512 * 1024
const mostLarge = 32
const spare: Buffer[] = []
let large = 0

/**
 * Node by itself allocates 64 KiB for each read, and memory that was never touched costs more than the copying. Those
 * who read the stream as usual get copies.
 */
export function lentReads(): LentReads {
  let socket: Socket
  let take: ((bytes: Buffer) => boolean) | undefined
  /** What the kernel fills next. Node asks for it after each read; at no other time can it be changed. */
  let next: Buffer = shared
  /** A large buffer that the taker has not written yet. */
  let kept: Buffer | undefined

  return {
    onread: {
      buffer: () => next,
      callback(length) {
        const filled = next
        const bytes = filled.subarray(0, length)
        if (!take) return socket.push(Buffer.from(bytes))
        const done = take(filled === shared ? Buffer.from(bytes) : bytes)
        // Large ones are for those who have more to say and are heard as fast: a full buffer, written at once.
        const more = done && length === filled.length
        next = more ? (filled === shared ? (takeLarge() ?? shared) : filled) : shared
        if (filled !== shared && next === shared) {
          if (done) spare.push(filled)
          else kept = filled
        }
        return done
      },
    },
    lender: {
      lend(taker) {
        take = taker
      },
      returned() {
        if (kept) spare.push(kept)
        kept = undefined
        socket.resume()
      },
    },
    attach(made) {
      socket = made
    },
    closed() {
      // What is kept the other side may still be writing: the garbage collector knows when it is not.
      if (kept) large--
      if (next !== shared) large--
      kept = undefined
      next = shared
    },
  }
}

function takeLarge(): Buffer | undefined {
  const buffer = spare.pop()
  if (buffer || large >= mostLarge) return buffer
  large++
  return Buffer.allocUnsafeSlow(largeSize)
}
