import type { Libc } from '../native/libc.ts'

const POLLIN = 0x1
const POLLHUP = 0x10

/** Has anybody the device of this master open, or left something to read there? True as well before it was ever open. */
export function isHeldOpen(libc: Libc, master: number): boolean {
  const poll = Buffer.alloc(8)
  poll.writeInt32LE(master, 0)
  poll.writeInt16LE(POLLIN, 4)
  libc.poll(poll, 1, 0)
  const seen = poll.readInt16LE(6)
  return (seen & POLLHUP) === 0 || (seen & POLLIN) !== 0
}
