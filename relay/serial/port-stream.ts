import type { OnReadOpts } from 'node:net'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lender } from '../endpoint.ts'
import type { RelayError } from '../errors.ts'
import type { Libc } from '../native/libc.ts'
import { socketOver } from '../terminal/descriptor-socket.ts'
import { isHangUp } from '../terminal/terminal-stream.ts'
import { endWhenQuiet } from './quiet-end.ts'

/** The bytes of a port, and what can be done to them beside reading and writing. */
export interface PortStream {
  readonly stream: Duplex
  readonly lender: Lender
  /** The device has gone. What came before is still to be had, for a moment; then the stream ends in the error. */
  hangUp(): void
  /** Forgets what was read from the kernel and not taken yet. */
  forgetRead(): void
  /** Forgets what was written and has not reached the kernel. Resolves when nothing of it can reach it any more. */
  forgetWritten(flush: () => Promise<void>): Promise<void>
}

/** As much as the kernel takes at once of nearly any device: what is on its way there cannot be called back. */
const sliceBytes = 4_096
/** How long a reader that has paused may take over what came before a hang-up. */
const lastBytesMs = 1_000
const lookEveryMs = 10
/** How long a slice that is on its way is waited for, so that it can be forgotten too. */
const reachedMs = 200

/** One for all ports: what is read into it is copied out before any other read can begin. */
const shared = Buffer.allocUnsafeSlow(16 * 1_024)

type Done = (error?: Error | null) => void

export interface PortStreamOptions {
  /** What a hang-up is: the error in which the stream ends. */
  readonly gone: () => RelayError
  /** After the end of writing: so much silence is the end of reading, for a line has no other. */
  readonly endAfterMs: number
}

/**
 * `fd` stays the caller's; the stream has a copy of it, and waits for it by events only. A serial line has no end, and a
 * hang-up is a failure.
 */
export function portStream(fd: number, libc: Libc, { gone, endAfterMs }: PortStreamOptions): PortStream {
  let reading = false
  let hungUp = false
  let leaving: NodeJS.Timeout | undefined
  /** Bytes in the stream's queue that are to be forgotten when their turn comes. */
  let forgotten = 0
  /** Bytes of the chunk that is being written, and whether the rest of it is still wanted. */
  let current: { bytes: number; wanted: boolean } | undefined
  let sliceDone: (() => void) | undefined
  let take: ((bytes: Buffer) => boolean) | undefined

  const write = (chunk: Buffer, done: Done) => {
    const skipped = Math.min(forgotten, chunk.length)
    forgotten -= skipped
    const bytes = chunk.subarray(skipped)
    const turn = { bytes: chunk.length, wanted: true }
    current = turn
    const finish = (error?: Error | null) => {
      current = undefined
      done(error)
    }
    const from = (at: number) => {
      // How much of it was taken before a hang-up is not known; the error that follows says so.
      if (hungUp || !turn.wanted || at >= bytes.length) return finish()
      socket.write(bytes.subarray(at, at + sliceBytes), error => {
        sliceDone?.()
        if (error && isHangUp(socket.errored ?? error)) {
          hangUp()
          finish()
        } else if (error) finish(error)
        else from(at + sliceBytes)
      })
    }
    from(0)
  }

  const stream = new Duplex({
    allowHalfOpen: true,
    readableHighWaterMark: sliceBytes,
    read() {
      if (reading) return
      reading = true
      socket.resume()
    },
    write: (chunk: Buffer, _encoding, done) => write(chunk, done),
    writev: (chunks, done) => write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done),
    final(done) {
      done()
      quiet.begin()
    },
    destroy(error, done) {
      quiet.stop()
      clearInterval(leaving)
      if (socket.closed) done(error)
      else socket.once('close', () => done(error)).destroy()
    },
  })

  const quiet = endWhenQuiet(stream, endAfterMs)

  const hangUp = () => {
    if (hungUp || stream.destroyed) return
    hungUp = true
    const deadline = performance.now() + lastBytesMs
    const leaveIfRead = () => {
      const isRead = socketEnded && stream.readableLength === 0
      if (isRead || performance.now() > deadline) stream.destroy(gone())
    }
    leaving = setInterval(leaveIfRead, lookEveryMs)
    leaveIfRead()
  }

  let socketEnded = false
  const onread: OnReadOpts = {
    buffer: shared,
    callback(length) {
      quiet.heard()
      const bytes = Buffer.from(shared.subarray(0, length))
      reading = take ? take(bytes) : stream.push(bytes)
      return reading
    },
  }
  const socket = socketOver(fd, libc, onread)
  const over = () => {
    socketEnded = true
    hangUp()
  }
  socket.on('end', () => {
    // A terminal that edits lines, as it may be told to, has a character for the end.
    if (isHungUp(libc, fd)) over()
    else stream.push(null)
  })
  socket.on('error', error => {
    if (isHangUp(error)) over()
    else stream.destroy(error)
  })

  return {
    stream,
    lender: {
      lend(taker) {
        take = taker
        if (stream.readableLength > 0) taker(stream.read())
      },
      returned() {
        reading = true
        socket.resume()
      },
    },
    hangUp,
    forgetRead() {
      // Taking bytes out of a stream hands them to its listeners, who must not see these.
      const listeners = stream.rawListeners('data') as ((chunk: Buffer) => void)[]
      for (const listener of listeners) stream.off('data', listener)
      while (stream.read() !== null);
      for (const listener of listeners) stream.on('data', listener)
    },
    async forgetWritten(flush) {
      const underWay = current
      forgotten = stream.writableLength - (underWay?.bytes ?? 0)
      if (!underWay || hungUp || stream.destroyed) return flush()
      underWay.wanted = false
      const reached = new Promise<void>(resolve => {
        sliceDone = resolve
        stream.once('close', resolve)
      })
      // It makes room for the slice that is on its way, which is then forgotten in its turn.
      await flush()
      // Real lines wake whoever waits for room; a pseudo-terminal does not before its other end reads.
      await Promise.race([reached, sleep(reachedMs, undefined, { ref: false })])
      sliceDone = undefined
      if (!stream.destroyed) await flush()
    },
  }
}

const POLLHUP = 0x10

function isHungUp(libc: Libc, fd: number): boolean {
  const poll = Buffer.alloc(8)
  poll.writeInt32LE(fd, 0)
  libc.poll(poll, 1, 0)
  return (poll.readInt16LE(6) & POLLHUP) !== 0
}
