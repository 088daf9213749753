import { close, read, write, writev } from 'node:fs'
import { Duplex } from 'node:stream'

export interface FileStreamOptions {
  readonly reads: boolean
  readonly writes: boolean
  /** The stream closes the descriptor when it is destroyed. */
  readonly owned: boolean
  /** At its end more is waited for, until the other side has ended. */
  readonly follows?: boolean | undefined
  /** See `FileStream.mayLose`: told of each datagram that found no room. */
  readonly lost?: (() => void) | undefined
}

type Done = (error?: Error | null) => void

const readSize = 64 * 1024
/** How long to wait when a device has nothing to say: Node can be told of that for pipes and sockets only. */
const waitMs = 10
/** How often a file is looked at that may grow. */
const followMs = 100

/**
 * What a descriptor holds, from where it stands and on: of a regular file, a disk, or a device that never makes
 * anybody wait or was opened so that it says EAGAIN instead. Calls on such descriptors are made in threads, of which
 * there are four: one that waited for ever would be missing. Without `reads` the stream never ends by itself; without
 * `writes` it swallows what is written.
 */
export class FileStream extends Duplex {
  readonly #fd: number
  readonly #options: FileStreamOptions
  #busy = 0
  #closed: (() => void) | undefined
  #timers = new Set<NodeJS.Timeout>()
  #mayLose = false
  /** The rest of a datagram of which a part was written when the room ended. */
  #torn: Buffer = Buffer.alloc(0)

  constructor(fd: number, options: FileStreamOptions) {
    super({ allowHalfOpen: true })
    this.#fd = fd
    this.#options = options
  }

  /**
   * From now on each chunk is a datagram. One for which there is no room is dropped and told of, and the stream lives
   * on; none is left half written once there is room again.
   */
  mayLose(): void {
    this.#mayLose = true
  }

  override _read(): void {
    if (!this.#options.reads) return
    const buffer = Buffer.allocUnsafeSlow(readSize)
    this.#busy++
    read(this.#fd, buffer, 0, readSize, null, (error, count) => {
      if (this.#over()) return
      if (error?.code === 'EAGAIN') this.#later(waitMs, () => this._read())
      else if (error) this.destroy(error)
      else if (count > 0) this.push(buffer.subarray(0, count))
      else if (this.#options.follows && !this.writableFinished) this.#later(followMs, () => this._read())
      else this.push(null)
    })
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#writeAll([chunk], done)
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: Done): void {
    this.#writeAll(
      chunks.map(({ chunk }) => chunk),
      done,
    )
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    for (const timer of this.#timers) clearTimeout(timer)
    if (this.#torn.length > 0) this.#options.lost?.()
    const finish = () => {
      if (this.#options.owned) close(this.#fd, failure => done(error ?? failure ?? null))
      else done(error)
    }
    // The number of a descriptor that is closed too early may be another file's by the time that the thread uses it.
    if (this.#busy === 0) finish()
    else this.#closed = finish
  }

  #writeAll(chunks: readonly Buffer[], done: Done): void {
    if (!this.#options.writes) done()
    else if (this.#mayLose) this.#writeDatagrams(chunks, done)
    else this.#writeBytes(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), done)
  }

  #writeBytes(bytes: Buffer, done: Done): void {
    if (bytes.length === 0) {
      done()
      return
    }
    this.#busy++
    write(this.#fd, bytes, 0, bytes.length, null, (error, count) => {
      if (this.#over()) done(error)
      else if (error?.code === 'EAGAIN') this.#later(waitMs, () => this.#writeBytes(bytes, done))
      else if (error) done(error)
      else this.#writeBytes(bytes.subarray(count), done)
    })
  }

  #writeDatagrams(datagrams: readonly Buffer[], done: Done): void {
    const all = this.#torn.length > 0 ? [this.#torn, ...datagrams] : datagrams
    if (all.every(({ length }) => length === 0)) {
      done()
      return
    }
    this.#busy++
    writev(this.#fd, all as Buffer[], null, (error, count = 0) => {
      if (this.#over()) done(error)
      else if (error?.code === 'EAGAIN') this.#later(waitMs, () => this.#writeDatagrams(datagrams, done))
      else if (error && !isFull(error)) done(error)
      else this.#account(datagrams, count, done)
    })
  }

  /** `count` bytes of the torn datagram and of these were written. What was begun is kept, and the rest is tried. */
  #account(datagrams: readonly Buffer[], count: number, done: Done): void {
    const paid = Math.min(count, this.#torn.length)
    this.#torn = this.#torn.subarray(paid)
    let left = count - paid
    let at = 0
    while (at < datagrams.length && left >= datagrams[at]!.length) left -= datagrams[at++]!.length
    if (at < datagrams.length && left > 0) this.#torn = Buffer.from(datagrams[at++]!.subarray(left))
    if (count > 0 && (at < datagrams.length || this.#torn.length > 0)) {
      this.#writeDatagrams(datagrams.slice(at), done)
      return
    }
    for (; at < datagrams.length; at++) this.#options.lost?.()
    done()
  }

  /** A call has come back; true if nobody waits for what it says. */
  #over(): boolean {
    this.#busy--
    if (!this.destroyed) return false
    if (this.#busy === 0) this.#closed?.()
    return true
  }

  #later(afterMs: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      act()
    }, afterMs)
    this.#timers.add(timer)
  }
}

function isFull({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ENOSPC' || code === 'EDQUOT'
}
