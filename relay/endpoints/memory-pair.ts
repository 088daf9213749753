import { Duplex } from 'node:stream'
import type { Channel, Peer } from '../endpoint.ts'

/**
 * Two channels joined back to back. What one writes the other reads; a writer waits until the reader has taken its
 * chunk. As with TCP: closing one shows the other an end, and writing to what is closed, or being aborted, a reset.
 * `nearPeer` is who the first one talks to.
 */
export function memoryPair(nearPeer: Peer, farPeer: Peer): [near: Channel, far: Channel] {
  const near = new MemoryStream()
  const far = new MemoryStream()
  near.join(far)
  far.join(near)
  return [memoryChannel(near, nearPeer), memoryChannel(far, farPeer)]
}

function memoryChannel(stream: MemoryStream, peer: Peer): Channel {
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  stream.on('error', () => {})
  return {
    stream,
    framing: 'stream',
    peer,
    abort: () => stream.reset(),
    [Symbol.asyncDispose]() {
      stream.destroy()
      return closed
    },
  }
}

/** One side of the pair. A class, for that is how Node's streams are extended. */
class MemoryStream extends Duplex {
  #peer!: MemoryStream
  /** The other side's write that waits until this side has read. */
  #writer: (() => void) | undefined
  #endSeen = false

  constructor() {
    super({ allowHalfOpen: true })
  }

  join(peer: MemoryStream): void {
    this.#peer = peer
  }

  reset(): void {
    if (this.destroyed) return
    this.#peer.destroy(resetError())
    this.destroy()
  }

  override _read(): void {
    const written = this.#writer
    this.#writer = undefined
    written?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    const peer = this.#peer
    if (peer.destroyed) done(resetError())
    else if (peer.push(chunk)) done()
    else peer.#writer = done
  }

  override _final(done: () => void): void {
    this.#peer.#end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#peer.#end()
    const written = this.#writer
    this.#writer = undefined
    written?.()
    done(error)
  }

  #end(): void {
    if (this.#endSeen || this.destroyed) return
    this.#endSeen = true
    this.push(null)
  }
}

function resetError(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' })
}
