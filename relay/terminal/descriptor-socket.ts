import { closeSync } from 'node:fs'
import { type OnReadOpts, Socket } from 'node:net'
import type { Libc } from '../native/libc.ts'
import { O_CLOEXEC } from './open-pty.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1

/** A socket of Node's with a copy of `fd` in place of its own: it reads and writes whatever it has in its hands. */
export function socketOver(fd: number, libc: Libc, onread: OnReadOpts): Socket {
  const pair = Buffer.alloc(8)
  libc.socketpair(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, pair)
  const place = pair.readInt32LE(0)
  closeSync(pair.readInt32LE(4))
  const options = { fd: place, allowHalfOpen: true, onread, pauseOnCreate: true }
  const socket = new Socket(options)
  libc.dup3(fd, place, O_CLOEXEC)
  return socket
}
