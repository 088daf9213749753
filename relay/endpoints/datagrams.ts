import { Duplex } from 'node:stream'
import type { Channel, Peer } from '../endpoint.ts'
import type { RelayError } from '../errors.ts'

/** What carries the datagrams of one channel. */
export interface Carrier {
  /** Hands one datagram to the kernel. */
  send(datagram: Buffer, done: (error?: Error | null) => void): void
  /** Called once, when the channel is over; `done` when its descriptor is gone. */
  close(done: () => void): void
  /** A datagram had to be dropped, for those before it have not been taken yet. */
  dropped(): void
  /** The channel is being aborted. */
  aborted?(reason: RelayError): void
}

/** Bytes that may wait to be read, on one channel and on all that share the port. */
export interface Room {
  left: number
}

export interface DatagramsOptions {
  readonly peer: Peer
  readonly room: Room
  readonly nullEof?: boolean | undefined
  readonly shutNull?: boolean | undefined
  readonly oneWay?: 'source'
  readonly idleMs?: number | undefined
}

export interface Datagrams {
  readonly channel: Channel
  /** A datagram has come. Nothing can hold it up, so it is dropped when too many wait to be read. */
  receive(datagram: Buffer): void
  /** No more will come. */
  end(): void
  /** It broke. */
  fail(error: Error): void
}

/** A little more than the kernel keeps for a socket. */
const roomPerChannel = 256 * 1024
export const roomPerPort = 16 * 1024 * 1024
/** What keeping a datagram costs beside its bytes; empty ones are not free. */
const overhead = 256
/** As much of a stream as socat puts into one datagram. */
const pieceSize = 8_192

/** A channel whose chunks are datagrams, empty ones too. */
export function openDatagrams(carrier: Carrier, options: DatagramsOptions): Datagrams {
  const stream = new DatagramStream(carrier, options)
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  stream.on('error', () => {})
  const { peer, oneWay, idleMs } = options
  return {
    channel: {
      stream,
      framing: 'datagram',
      peer,
      ...(oneWay && { oneWay }),
      ...(idleMs !== undefined && { idleMs }),
      cutsStream: () => stream.cutStream(),
      abort(reason) {
        if (stream.destroyed) return
        carrier.aborted?.(reason)
        stream.destroy()
      },
      [Symbol.asyncDispose]() {
        stream.destroy()
        return closed
      },
    },
    receive: datagram => stream.receive(datagram),
    end: () => stream.endReading(),
    fail: error => void stream.destroy(error),
  }
}

/** A class, for that is how Node's streams are extended. */
class DatagramStream extends Duplex {
  readonly #carrier: Carrier
  readonly #options: DatagramsOptions
  readonly #waiting: Buffer[] = []
  #room = roomPerChannel
  #wanted = true
  #ended = false
  #pieces = false

  constructor(carrier: Carrier, options: DatagramsOptions) {
    // Chunks are objects for the reader: bytes would be joined, and empty ones would vanish.
    super({ allowHalfOpen: true, readableObjectMode: true, readableHighWaterMark: 16 })
    this.#carrier = carrier
    this.#options = options
  }

  cutStream(): void {
    this.#pieces = true
  }

  receive(datagram: Buffer): void {
    if (this.#ended || this.destroyed) return
    if (datagram.length === 0 && this.#options.nullEof) this.endReading()
    else if (this.#wanted && this.#waiting.length === 0) this.#wanted = this.push(datagram)
    else this.#keep(datagram)
  }

  #keep(datagram: Buffer): void {
    const cost = datagram.length + overhead
    if (cost > this.#room || cost > this.#options.room.left) {
      this.#carrier.dropped()
    } else {
      this.#take(cost)
      this.#waiting.push(datagram)
    }
  }

  endReading(): void {
    if (this.#ended || this.destroyed) return
    this.#ended = true
    if (this.#waiting.length === 0) this.push(null)
  }

  override _read(): void {
    this.#wanted = true
    while (this.#wanted && this.#waiting.length > 0) {
      const datagram = this.#waiting.shift()!
      this.#take(-datagram.length - overhead)
      this.#wanted = this.push(datagram)
    }
    if (this.#ended && this.#waiting.length === 0) this.push(null)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#options.oneWay) done()
    else if (this.#pieces) this.#sendPieces(chunk, 0, done)
    else this.#carrier.send(chunk, done)
  }

  #sendPieces(chunk: Buffer, from: number, done: (error?: Error | null) => void): void {
    if (from >= chunk.length) {
      done()
    } else {
      const to = from + pieceSize
      this.#carrier.send(chunk.subarray(from, to), error =>
        error ? done(error) : this.#sendPieces(chunk, to, done),
      )
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#options.shutNull && !this.#options.oneWay) this.#carrier.send(Buffer.alloc(0), done)
    else done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    for (const datagram of this.#waiting.splice(0)) this.#take(-datagram.length - overhead)
    this.#carrier.close(() => done(error))
  }

  #take(bytes: number): void {
    this.#room -= bytes
    this.#options.room.left -= bytes
  }
}
