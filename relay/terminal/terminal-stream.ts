import { closeSync } from 'node:fs'
import { type OnReadOpts, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type Libc, loadLibc } from '../native/libc.ts'
import { O_CLOEXEC } from './open-pty.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1

/** One for all terminals: what is read into it is copied out before any other read can begin. */
const shared = Buffer.allocUnsafeSlow(64 * 1024)

/**
 * The bytes of a terminal, of which `fd` is the master or the device itself; the stream owns it from now on, and closes
 * it when it is destroyed. It ends when nobody has the other end open any more, and then swallows what is written.
 *
 * All is driven by events, and no read or write waits in a thread. Node has streams for terminals, but those write to
 * a master with a loop that spins until it is read. So the descriptor takes the place of a socket's, whose stream reads
 * and writes whatever it has in its hands.
 */
export async function terminalStream(fd: number): Promise<Duplex> {
  let arrived = (_: Buffer): boolean => true
  const onread: OnReadOpts = { buffer: shared, callback: length => arrived(shared.subarray(0, length)) }
  const socket = socketOver(fd, await loadLibc('a terminal'), onread)
  const hungUp = () => (socket.errored as NodeJS.ErrnoException | null)?.code === 'EIO'
  const write = (bytes: Buffer, done: (error?: Error | null) => void) => {
    if (hungUp()) done()
    else socket.write(bytes, error => done(hungUp() ? null : error))
  }
  const stream = new Duplex({
    allowHalfOpen: true,
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => write(chunk, done),
    writev: (chunks, done) => write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done),
    destroy(error, done) {
      if (socket.closed) return done(error)
      socket.once('close', () => done(error)).destroy()
    },
  })
  // Nothing more is read once the stream has enough; so the error by which a terminal says that nobody has it open any
  // more comes after all bytes.
  arrived = bytes => stream.push(Buffer.from(bytes))
  socket.on('error', error => (hungUp() ? stream.push(null) : stream.destroy(error)))
  socket.on('end', () => stream.push(null))
  return stream
}

/** A socket of Node's with `fd` in place of its own. */
function socketOver(fd: number, libc: Libc, onread: OnReadOpts): Socket {
  const pair = Buffer.alloc(8)
  try {
    libc.socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, pair)
    const place = pair.readInt32LE(0)
    closeSync(pair.readInt32LE(4))
    const socket = new Socket({ fd: place, allowHalfOpen: true, onread })
    libc.dup3(fd, place, O_CLOEXEC)
    return socket
  } finally {
    closeSync(fd)
  }
}
