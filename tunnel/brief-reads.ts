import { type OnReadOpts, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'

/** One for all: what is read into it is looked at before anything else is read. */
const shared = Buffer.allocUnsafeSlow(64 * 1024)

type Hear = (bytes: Buffer) => void

/**
 * How a socket of TLS reads without memory of its own. Node by itself allocates as much for each record as it holds,
 * outside of its heap, and each few megabytes of that are a reason for it to collect garbage: half of the time of a busy
 * tunnel.
 */
export class BriefReads {
  #socket!: Duplex
  #hear: Hear | undefined

  onread(): OnReadOpts {
    return { buffer: shared, callback: length => this.#arrived(shared.subarray(0, length)) }
  }

  /** To be called with the socket that was made so, before it reads. */
  attach(socket: Duplex): void {
    this.#socket = socket
    all.set(socket, this)
  }

  hear(hear: Hear): void {
    this.#hear = hear
  }

  #arrived(bytes: Buffer): boolean {
    if (!this.#hear) return this.#socket.push(Buffer.from(bytes))
    this.#hear(bytes)
    return true
  }
}

const all = new WeakMap<Duplex, BriefReads>()

/** Where a socket keeps what it was told about its reads. Not part of Node's documented interface. */
const places = (() => {
  const told = { buffer: Buffer.alloc(1), callback: () => true }
  const probe = new Socket({ onread: told })
  const symbols = Object.getOwnPropertySymbols(probe)
  const placeOf = (value: unknown) => symbols.find(symbol => Reflect.get(probe, symbol) === value)
  const [buffer, callback] = [placeOf(told.buffer), placeOf(told.callback)]
  return buffer && callback ? { buffer, callback } : undefined
})()

/**
 * Makes one read so that exists already: the answering side of TLS begins on a connection that is there, and Node takes
 * no `onread` for those. Where Node is not as we know it, the socket reads as it did. Answers whether it reads so now.
 */
export function readBriefly(socket: TLSSocket): boolean {
  const handle = Reflect.get(socket, '_handle') as { useUserBuffer?(buffer: Buffer): void } | null
  if (!places || typeof handle?.useUserBuffer !== 'function') return false
  const reads = new BriefReads()
  const { callback } = reads.onread()
  Reflect.set(socket, places.buffer, shared)
  Reflect.set(socket, places.callback, callback)
  handle.useUserBuffer(shared)
  reads.attach(socket)
  return true
}

/** Tells of all that comes; the bytes are valid during the call only. */
export function hearBriefly(socket: Duplex, hear: Hear): void {
  // What came before anybody heard is told by the stream.
  socket.on('data', hear)
  all.get(socket)?.hear(hear)
}
