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
  /** A large buffer that the taker has kept, and that is not `next` any more. */
  let kept: Buffer | undefined

  return {
    onread: {
      buffer: () => next,
      callback(length) {
        const filled = next
        const lent = take !== undefined && filled !== shared
        const bytes = lent ? filled.subarray(0, length) : Buffer.from(filled.subarray(0, length))
        // A full buffer says that more is waiting; any other that the connection may be silent from now on.
        if (length < filled.length) next = shared
        else if (filled === shared) next = takeLarge() ?? shared
        const goOn = take ? take(bytes) : socket.push(bytes)
        if (filled !== shared && next !== filled) {
          if (lent && !goOn) kept = filled
          else spare.push(filled)
        }
        return goOn
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
      // The other side may still be writing them, so they are left to the garbage collector.
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
