import { closeSync } from 'node:fs'
import type { OnReadOpts, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { loadLibc } from '../native/libc.ts'
import { socketOver } from './descriptor-socket.ts'
import { isHeldOpen } from './held-open.ts'

/** How often to look whether somebody has opened the terminal again. */
const lookEveryMs = 10

/** One for all terminals: what is read into it is copied out before any other read can begin. */
const shared = Buffer.allocUnsafeSlow(64 * 1024)

type Done = (error?: Error | null) => void

/**
 * The bytes of a terminal, of which `fd` is the master or the device itself; the stream owns it from now on, and closes
 * it when it is destroyed, as does a rejection. It ends when nobody has the other end open any more, and then swallows what is written. With
 * `sitOutMs` it waits that long for somebody to open it again: some programs close their terminal to open it anew.
 *
 * All is driven by events, and no read or write waits in a thread. Node has streams for terminals, but those write to
 * a master with a loop that spins until it is read. So the descriptor takes the place of a socket's, whose stream reads
 * and writes whatever it has in its hands.
 */
export async function terminalStream(fd: number, { sitOutMs = 0 } = {}): Promise<Duplex> {
  const libc = await loadLibc('a terminal').catch((error: unknown) => {
    closeSync(fd)
    throw error
  })
  let isOver = false
  let reading = false
  let looking: NodeJS.Timeout | undefined
  let held: (() => void) | undefined

  const write = (bytes: Buffer, done: Done): void => {
    if (isOver) done()
    else if (looking) held = () => write(bytes, done)
    else {
      const at = socket
      at.write(bytes, error => {
        if (!error || !isHangUp(at.errored)) return done(error)
        // How much of it was taken is not known, so it cannot be written again.
        over()
        done()
      })
    }
  }
  const stream = new Duplex({
    allowHalfOpen: true,
    read() {
      if (reading) return
      reading = true
      socket.resume()
    },
    write: (chunk: Buffer, _encoding, done) => write(chunk, done),
    writev: (chunks, done) => write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done),
    destroy(error, done) {
      clearInterval(looking)
      closeSync(fd)
      if (socket.closed) done(error)
      else socket.once('close', () => done(error)).destroy()
    },
  })
  // Nothing more is read once the stream has enough; so the error by which a terminal says that nobody has it open any
  // more comes after all bytes.
  const onread: OnReadOpts = {
    buffer: shared,
    callback(length) {
      reading = stream.push(Buffer.from(shared.subarray(0, length)))
      return reading
    },
  }
  const join = () => {
    const joined = socketOver(fd, libc, onread)
    joined.on('end', over).on('error', error => {
      if (isHangUp(error)) hungUp()
      else stream.destroy(error)
    })
    return joined
  }
  const resumeHeld = () => {
    clearInterval(looking)
    looking = undefined
    held?.()
    held = undefined
  }
  const over = () => {
    if (isOver) return
    isOver = true
    resumeHeld()
    if (!stream.destroyed) stream.push(null)
  }
  const hungUp = () => {
    if (isOver || stream.destroyed || sitOutMs === 0) return over()
    const deadline = performance.now() + sitOutMs
    looking = setInterval(() => {
      if (performance.now() > deadline) return over()
      if (!isHeldOpen(libc, fd)) return
      socket = join()
      if (reading) socket.resume()
      resumeHeld()
    }, lookEveryMs)
  }
  let socket: Socket
  try {
    socket = join()
  } catch (error) {
    closeSync(fd)
    throw error
  }
  return stream
}

/** Has the other end of the terminal gone? */
export function isHangUp(error: Error | null): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === 'EIO'
}
