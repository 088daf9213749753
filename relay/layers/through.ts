import { Duplex } from 'node:stream'
import type { Channel } from '../endpoint.ts'

/** What happens to the bytes of a channel on their way through. Where a stage is absent they stay as they are. */
export interface Stages {
  /** What is read in place of a chunk. Nothing, of a stream, is no chunk; an empty datagram is one. */
  readonly read?: (chunk: Buffer) => Buffer | LastRead
  /** Of streams: how much is read at a time. */
  readonly mostRead?: number | undefined
  /** What is written in place of a chunk. */
  readonly write?: (chunk: Buffer) => Buffer
  /** How much of `left` bytes may be written now: all of it or a part, or nothing for a number of milliseconds. */
  readonly pace?: (left: number) => { readonly bytes: number } | { readonly waitMs: number }
  /** The end of what is read shows only when writing has ended too. */
  readonly endsLast?: boolean
  /** What the end of writing does to the channel. `end` if absent: it ends its writing. */
  readonly atEnd?: 'end' | 'nothing' | 'close' | 'empty-datagram'
}

/** These are the last bytes, if any: what comes after them is not read. */
export interface LastRead {
  readonly last: Buffer
}

/**
 * A channel that does as `inner` does but for the stages. It takes `inner` over, errors included. A datagram stays one.
 * What is written to it must not be lent (see `Lender`), and it lends nothing.
 */
export function through(inner: Channel, stages: Stages): Channel {
  const stream = new ThroughStream(inner, stages)
  const { lender: _lender, borrows: _borrows, ...rest } = inner
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  return {
    ...rest,
    // Whether it does, some know only later.
    get hangsUp() {
      return inner.hangsUp
    },
    stream,
    abort(reason) {
      inner.abort(reason)
      stream.destroy()
    },
    async [Symbol.asyncDispose]() {
      stream.destroy()
      await inner[Symbol.asyncDispose]()
      await closed
    },
  }
}

type Done = (error?: Error | null) => void

/** A class, for that is how Node's streams are extended. */
class ThroughStream extends Duplex {
  readonly #inner: Duplex
  readonly #stages: Stages
  readonly #datagrams: boolean
  #reading = false
  /** No more will be pushed, or only the end. */
  #read = false
  #pause: NodeJS.Timeout | undefined

  constructor({ stream, framing }: Channel, stages: Stages) {
    const datagrams = framing === 'datagram'
    super({
      allowHalfOpen: true,
      // Datagrams are objects for the reader: bytes would be joined, and empty ones would vanish.
      ...(datagrams && { readableObjectMode: true, readableHighWaterMark: 16 }),
    })
    this.#inner = stream
    this.#stages = stages
    this.#datagrams = datagrams
    // Between pumps nobody may be listening, and an error that nobody hears ends the process.
    this.on('error', ignore)
    stream.on('error', error => this.destroy(error)).on('close', () => this.#innerClosed())
    if (stream.errored) this.destroy(stream.errored)
    else if (stream.destroyed) this.destroy()
  }

  override _read(): void {
    if (this.#read) return
    if (!this.#reading) {
      this.#reading = true
      this.#inner.on('data', (chunk: Buffer) => this.#arrived(chunk)).on('end', () => this.#readEnd())
      if (this.#inner.readableEnded) this.#readEnd()
    }
    this.#inner.resume()
  }

  #arrived(chunk: Buffer): void {
    if (this.#read || this.destroyed) return
    const instead = this.#stages.read ? this.#stages.read(chunk) : chunk
    const isLast = 'last' in instead
    const bytes = isLast ? instead.last : instead
    const isNothing = bytes.length === 0 && (isLast || !this.#datagrams)
    const wanted = isNothing || this.#pushed(bytes)
    // What comes after the last is for somebody else, if anybody.
    if (isLast || !wanted) this.#inner.pause()
    if (isLast) this.#readEnd()
  }

  #pushed(bytes: Buffer): boolean {
    const { mostRead } = this.#stages
    // A datagram stays whole, also one of nothing.
    if (this.#datagrams || mostRead === undefined) return this.push(bytes)
    let wanted = true
    for (let at = 0; at < bytes.length; at += mostRead) wanted = this.push(bytes.subarray(at, at + mostRead))
    return wanted
  }

  #readEnd(): void {
    if (this.#read) return
    this.#read = true
    if (!this.#stages.endsLast || this.writableFinished) this.push(null)
    else this.once('finish', () => this.push(null))
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    const bytes = this.#stages.write ? this.#stages.write(chunk) : chunk
    if (this.#stages.pace) this.#writePaced(bytes, this.#stages.pace, done)
    else if (bytes.length === 0 && !this.#datagrams) done()
    else this.#inner.write(bytes, done)
  }

  #writePaced(bytes: Buffer, pace: NonNullable<Stages['pace']>, done: Done): void {
    const turn = pace(bytes.length)
    // What is asked there may have found that all is over.
    if (this.destroyed) {
      done()
    } else if ('waitMs' in turn) {
      this.#pause = setTimeout(() => this.#writePaced(bytes, pace, done), turn.waitMs)
    } else if (this.#datagrams || turn.bytes >= bytes.length) {
      this.#inner.write(bytes, done)
    } else {
      const rest = bytes.subarray(turn.bytes)
      this.#inner.write(bytes.subarray(0, turn.bytes), error =>
        error ? done(error) : this.#writePaced(rest, pace, done),
      )
    }
  }

  override _final(done: Done): void {
    const inner = this.#inner
    switch (this.#stages.atEnd ?? 'end') {
      case 'end':
        inner.end(done)
        break
      case 'nothing':
        done()
        break
      case 'empty-datagram':
        if (this.#datagrams) inner.write(Buffer.alloc(0), done)
        else done()
        break
      case 'close':
        inner.end((error?: Error | null) => {
          done(error)
          this.#readEnd()
          inner.destroy()
        })
    }
  }

  /** What has been read and not been taken yet is still to be had. */
  #innerClosed(): void {
    if (this.#read && !this.readableEnded && !this.destroyed) this.once('end', () => this.destroy())
    else this.destroy()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#pause)
    this.#read = true
    done(error)
  }
}

function ignore(): void {}
