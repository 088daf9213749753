import { Duplex } from 'node:stream'
import type { Channel, Lender } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import { mostData } from './frames.ts'
import { type Gathered, type Gathering, openGathering } from './gathering.ts'

/** What one conversation needs of the link that carries it. */
export interface Carrier {
  /** `done` when the bytes are nobody's but the link's, and there is room for more. */
  data(stream: number, bytes: Buffer, done: () => void): void
  end(stream: number): void
  reset(stream: number, reason: RelayError): void
  credit(stream: number, bytes: number): void
  /** Milliseconds that an answer takes: how much may be on its way depends on it. */
  roundTripMs(): number
  /** It is over, both ways: nothing more will be told of it. */
  gone(stream: number): void
  /** A datagram had to be dropped: those before it have not been taken yet. */
  dropped(): void
}

/** What may be on its way to a reader who has not said that it has taken any of it. */
export const firstWindow = 262_144
/** A window grows up to this where the way is long and its reader is quick. */
const mostWindow = 4 * 1024 * 1024
/** What is a part of more: a whole record of TLS is twice that. */
const large = 8_192
/** As much of a stream as goes into one datagram. */
const pieceSize = 8_192
/** Pieces may be tiny, and each has its price: that many wait, of a stream as one, and of datagrams no more come. */
const mostWaiting = 1_024

/**
 * One conversation of a link, both ways. Each side may have as much on its way as the other has given it credit for, so
 * that a slow reader holds up nobody but its own writer. A class, for that is how Node's streams are extended.
 */
export class TunnelStream extends Duplex implements Lender {
  framing: Channel['framing'] = 'stream'
  readonly #id: number
  readonly #carrier: Carrier
  #credit = firstWindow
  #window = firstWindow
  /** What has come, and the reader has not asked for yet. */
  #waiting: (Buffer | null)[] = []
  #isWanted = true
  /** Of what the far side may send, what it may send again. */
  #owed = 0
  #outstanding = 0
  #creditedAt = 0
  /** What is to be written and has no credit yet. */
  #held: { bytes: Buffer; done: (error?: Error) => void } | undefined
  #isTold = false
  /** Who gets what comes, since it is lent. */
  #taker: ((bytes: Buffer) => boolean) | undefined
  #gathering: Gathering | undefined
  /** What the taker has not returned yet. */
  #lent: Gathered | undefined
  #isDue = false
  /** The far side has ended, and what it said before has not been taken yet. */
  #isOver = false

  constructor(id: number, carrier: Carrier) {
    // Chunks stay as they are, for they may be datagrams; how many bytes wait is a matter of credit.
    super({
      allowHalfOpen: true,
      readableObjectMode: true,
      readableHighWaterMark: 4,
      writableHighWaterMark: 131_072,
    })
    this.#id = id
    this.#carrier = carrier
    // It may be cut before anybody listens, and an error that nobody hears ends the process.
    this.on('error', () => {})
  }

  /** What is written is cut into datagrams, for its chunks mean nothing. */
  cutsStream = false

  /** Bytes have come, which are valid during the call only. False: more than they had credit for. */
  arrived(bytes: Buffer): boolean {
    this.#outstanding += bytes.length
    if (this.#outstanding > this.#window) return false
    this.#take(this.#taker ? bytes : Buffer.from(bytes))
    return true
  }

  ended(): void {
    this.#take(null)
  }

  credited(bytes: number): void {
    this.#credit += bytes
    const held = this.#held
    if (!held) return
    this.#held = undefined
    this.#send(held.bytes, held.done)
  }

  /** The far side has cut it, or the link is gone. */
  cut(reason: RelayError): void {
    this.#isTold = true
    this.destroy(reason)
  }

  /** Cuts it, and tells the far side why. */
  abort(reason: RelayError): void {
    if (this.destroyed) return
    if (!this.#isTold) this.#carrier.reset(this.#id, reason)
    this.#isTold = true
    this.destroy()
  }

  /** From now on what comes is lent, and no more of it read from the stream. */
  lend(take: (bytes: Buffer) => boolean): void {
    this.#taker = take
    this.#gathering ??= openGathering()
    // What has come before comes first, and at once: its end may be on its way already.
    const early: Buffer[] = []
    for (let bytes = this.read(); bytes !== null; bytes = this.read()) early.push(bytes)
    const bytes = Buffer.concat(early)
    if (bytes.length > 0 && !take(bytes)) this.#lent = { bytes, release() {} }
    for (const each of this.#waiting.splice(0)) this.#gather(each)
    this.#lendNow()
  }

  returned(): void {
    this.#lent?.release()
    this.#lent = undefined
    this.#lendNow()
  }

  #gather(bytes: Buffer | null): void {
    const gathering = this.#gathering!
    if (bytes === null) this.#isOver = true
    // What comes alone is said at once; what is a part of much waits for the rest that is there already.
    else if (bytes.length < large && gathering.isEmpty) gathering.addWhole(Buffer.from(bytes))
    else gathering.add(bytes)
    const waits = bytes !== null && bytes.length >= large && !gathering.isMuch
    if (!waits) this.#lendNow()
    else if (!this.#isDue) {
      this.#isDue = true
      setImmediate(() => {
        this.#isDue = false
        this.#lendNow()
      })
    }
  }

  #lendNow(): void {
    while (!this.#lent && !this.destroyed) {
      const next = this.#gathering!.shift()
      if (!next) break
      this.#taken(next.bytes.length)
      if (this.#taker!(next.bytes)) next.release()
      else this.#lent = next
    }
    if (this.#isOver && !this.#lent && this.#gathering!.isEmpty && !this.destroyed) {
      this.#isOver = false
      this.push(null)
    }
  }

  #take(bytes: Buffer | null): void {
    if (this.destroyed) return
    if (this.#taker) this.#gather(bytes)
    else if (this.#isWanted && this.#waiting.length === 0) this.#hand(bytes)
    else if (this.#waiting.length < mostWaiting || bytes === null) this.#waiting.push(bytes)
    else if (this.framing === 'stream') this.#waiting = [Buffer.concat([...this.#waiting, bytes] as Buffer[])]
    else {
      this.#carrier.dropped()
      this.#taken(bytes.length)
    }
  }

  #hand(bytes: Buffer | null): void {
    this.#isWanted = this.push(bytes)
    if (bytes) this.#taken(bytes.length)
  }

  /** The reader has it: the far side may send as much again, and more where credit came too late for it. */
  #taken(bytes: number): void {
    this.#outstanding -= bytes
    this.#owed += bytes
    if (this.#owed < this.#window / 2) return
    const now = performance.now()
    const isQuick = now - this.#creditedAt < 2 * this.#carrier.roundTripMs()
    if (isQuick && this.#window < mostWindow) {
      this.#owed += this.#window
      this.#window *= 2
    }
    this.#creditedAt = now
    const given = this.#owed
    this.#owed = 0
    this.#carrier.credit(this.#id, given)
  }

  override _read(): void {
    if (this.#taker) return
    this.#isWanted = true
    while (this.#isWanted && this.#waiting.length > 0) this.#hand(this.#waiting.shift()!)
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    if (this.framing === 'stream') this.#send(bytes, done)
    else if (this.cutsStream) this.#sendPieces(bytes, done)
    else this.#sendDatagram(bytes, done)
  }

  #send(bytes: Buffer, done: (error?: Error) => void): void {
    const now = Math.min(bytes.length, this.#credit, mostData)
    if (now === 0 && bytes.length > 0) {
      this.#held = { bytes, done }
      return
    }
    this.#credit -= now
    if (now === bytes.length) this.#carrier.data(this.#id, bytes, done)
    else this.#carrier.data(this.#id, bytes.subarray(0, now), () => this.#sendRest(bytes.subarray(now), done))
  }

  #sendRest(bytes: Buffer, done: (error?: Error) => void): void {
    if (this.destroyed) done()
    else this.#send(bytes, done)
  }

  #sendPieces(bytes: Buffer, done: (error?: Error) => void): void {
    for (let at = 0; at < bytes.length; at += pieceSize) {
      const piece = bytes.subarray(at, at + pieceSize)
      this.#sendDatagram(piece, at + pieceSize >= bytes.length ? done : () => {})
    }
    if (bytes.length === 0) done()
  }

  /** Nothing can hold up a datagram. */
  #sendDatagram(bytes: Buffer, done: (error?: Error) => void): void {
    if (bytes.length > this.#credit || bytes.length > mostData) {
      this.#carrier.dropped()
      done()
      return
    }
    this.#credit -= bytes.length
    this.#carrier.data(this.#id, bytes, done)
  }

  override _final(done: () => void): void {
    if (!this.#isTold) this.#carrier.end(this.#id)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const held = this.#held
    this.#held = undefined
    this.#waiting = []
    if (!this.#isTold && !this.writableFinished) {
      // What is lost must not look like a whole that has ended.
      if (held || this.writableLength > 0) this.#carrier.reset(this.#id, unfinished)
      else this.#carrier.end(this.#id)
    }
    this.#carrier.gone(this.#id)
    held?.done(error ?? undefined)
    done(error)
  }
}

const unfinished = new RelayError('reset', {
  what: 'the connection',
  why: 'it was closed before all was said',
})

/** The conversation as the engine sees it. */
export function streamChannel(
  stream: TunnelStream,
  rest: Pick<Channel, 'peer' | 'oneWay' | 'idleMs' | 'hangsUp' | 'awaited'>,
): Channel {
  const closed = new Promise<void>(resolve => {
    if (stream.closed) resolve()
    else stream.once('close', () => resolve())
  })
  return {
    ...rest,
    stream,
    get framing() {
      return stream.framing
    },
    // A datagram stays by itself, and that many of them wait is none of a lender's business.
    get lender() {
      return stream.framing === 'stream' ? stream : undefined
    },
    // What it calls back for is copied, or encrypted, by then.
    borrows: true,
    cutsStream() {
      stream.cutsStream = true
    },
    abort: reason => stream.abort(RelayError.from(reason, 'the connection')),
    [Symbol.asyncDispose]() {
      stream.destroy()
      return closed
    },
  }
}
