import { Duplex } from 'node:stream'
import type { Channel } from '../endpoint.ts'
import { RelayError } from '../errors.ts'

/**
 * One channel that reads from one and writes to the other, and takes both over. The end of `read` is its end, and the
 * end of its writing is that of `write`. What `write` says is dropped; it is read all the same, for only a reader notices
 * that its peer has gone.
 */
export function joinChannels(read: Channel, write: Channel): Channel {
  const stream = new JoinedStream(read, write)
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  const idleMs = read.idleMs ?? write.idleMs
  const serial = write.serial ?? read.serial
  return {
    stream,
    framing: read.framing,
    peer: { ...read.peer, text: `${read.peer.text}!!${write.peer.text}` },
    ...(idleMs !== undefined && { idleMs }),
    ...(serial && { serial }),
    verdict: () => read.verdict?.() ?? write.verdict?.(),
    ...(write.cutsStream && { cutsStream: () => write.cutsStream?.() }),
    ...(write.mayLose && { mayLose: () => write.mayLose?.() }),
    abort(reason) {
      read.abort(reason)
      write.abort(reason)
      stream.destroy()
    },
    async [Symbol.asyncDispose]() {
      stream.destroy()
      await Promise.all([read[Symbol.asyncDispose](), write[Symbol.asyncDispose]()])
      await closed
    },
  }
}

/** A class, for that is how Node's streams are extended. */
class JoinedStream extends Duplex {
  readonly #read: Duplex
  readonly #write: Duplex

  constructor(read: Channel, write: Channel) {
    const datagrams = read.framing === 'datagram'
    super({ allowHalfOpen: true, ...(datagrams && { readableObjectMode: true, readableHighWaterMark: 16 }) })
    this.#read = read.stream
    this.#write = write.stream
    // Between pumps nobody may be listening, and an error that nobody hears ends the process.
    this.on('error', () => {})
    this.#watch(read, () => this.#read.readableEnded || this.readableEnded)
    this.#watch(write, () => this.#write.writableFinished)
    this.#read.pause()
    this.#read
      .on('data', (chunk: Buffer) => {
        if (!this.push(chunk)) this.#read.pause()
      })
      .on('end', () => this.push(null))
    if (this.#read.readableEnded) this.push(null)
    if (this.#write !== this.#read) this.#write.resume()
  }

  /** Its failure is that of the whole; and so is its closing, unless its part is done. */
  #watch({ stream, peer }: Channel, isDone: () => boolean): void {
    const what = `the connection with ${peer.text}`
    const failed = (error: Error) => this.destroy(RelayError.from(error, what))
    const closed = () => {
      if (!isDone()) failed(new RelayError('reset', { what, why: 'it was closed before its end' }))
    }
    stream.on('error', failed).on('close', closed)
    if (stream.errored) failed(stream.errored)
    else if (stream.destroyed) closed()
  }

  override _read(): void {
    this.#read.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#write.write(chunk, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#write.end(done)
  }
}
