import type { OnReadOpts, Socket } from 'node:net'
import type { Lender } from '../endpoint.ts'

/** One for all sockets: what is read into it is copied out before any other read can begin. */
const shared: Buffer = Buffer.allocUnsafeSlow(64 * 1024)

/** For sockets that have more than that to say. There are so many and no more, however many connections there are. */
const largeSize = 512 * 1024
const mostLarge = 32
const spare: Buffer[] = []
let large = 0

function takeLarge(): Buffer | undefined {
  const buffer = spare.pop()
  if (buffer || large >= mostLarge) return buffer
  large++
  return Buffer.allocUnsafeSlow(largeSize)
}

/** For those whose other side has to wait at times: while there are enough for others. */
function takeSecond(): Buffer | undefined {
  return spare.length > 0 || large < mostLarge / 2 ? takeLarge() : undefined
}

/**
 * How a socket reads without memory of its own: Node by itself allocates 64 KiB for each read, and memory that was
 * never touched costs more than the copying. Those who read the stream as usual get copies. A class, so that each of
 * ten thousand silent connections does not have functions of its own.
 */
export class LentReads implements Lender {
  #socket!: Socket
  #take: ((bytes: Buffer) => boolean) | undefined
  /** What the kernel fills next. Node asks for it after each read; at no other time can it be changed. */
  #next = shared
  /** A large buffer that the taker has not written yet. */
  #kept: Buffer | undefined

  /** For the making of the socket. */
  onread(): OnReadOpts {
    return { buffer: () => this.#next, callback: length => this.#arrived(length) }
  }

  /** To be called with the socket that was made, before it reads. */
  attach(socket: Socket): void {
    this.#socket = socket
  }

  lend(take: (bytes: Buffer) => boolean): void {
    this.#take = take
    // What a handshake has left over. It is nobody's buffer, so it does not matter if it is kept for a while.
    if (this.#socket.readableLength > 0) take(this.#socket.read())
  }

  returned(): void {
    if (this.#kept) spare.push(this.#kept)
    this.#kept = undefined
    this.#socket.resume()
  }

  /** To be called when the socket has closed. What is kept may still be written: the garbage collector knows. */
  closed(): void {
    if (this.#kept) large--
    if (this.#next !== shared) large--
    this.#kept = undefined
    this.#next = shared
  }

  #arrived(length: number): boolean {
    const filled = this.#next
    const bytes = filled.subarray(0, length)
    if (!this.#take) return this.#socket.push(Buffer.from(bytes))
    const done = this.#take(filled === shared ? Buffer.from(bytes) : bytes)
    // Large ones are for those who have more to say and are heard as fast: a full buffer, written at once.
    const isFull = length === filled.length
    if (filled === shared) this.#next = done && isFull ? (takeLarge() ?? shared) : shared
    else if (!done) {
      this.#kept = filled
      this.#next = (isFull && takeSecond()) || shared
    } else if (!isFull) {
      spare.push(filled)
      this.#next = shared
    }
    return done
  }
}
