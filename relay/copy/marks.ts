import { createHash, type Hash } from 'node:crypto'
import type { Mark } from './messages.ts'
import { readFully } from './system.ts'

/** A hash of the beginning of a file, which can be gone on with. */
export interface Begun {
  readonly offset: number
  readonly hash: Hash
}

const pieceBytes = 1_048_576
const most = 16

/** The hashes of the file at a few places between its begin and `size`, which is the last of them. */
export async function beginnings(fd: number, size: number, signal: AbortSignal): Promise<Begun[]> {
  const step = Math.max(pieceBytes, Math.ceil(size / most))
  const offsets = Array.from({ length: Math.ceil(size / step) }, (_, i) => Math.min(size, (i + 1) * step))
  return await hashedAt(fd, offsets, signal)
}

export const marksOf = (begun: readonly Begun[]): Mark[] =>
  begun.map(({ offset, hash }) => ({ offset, sha256: hash.copy().digest('hex') }))

/** How far the file is what the marks say. Nothing is the same at 0. */
export async function agreement(fd: number, marks: readonly Mark[], signal: AbortSignal): Promise<Begun> {
  let last: Begun = { offset: 0, hash: createHash('sha256') }
  for (const { offset, sha256 } of marks) {
    const [next] = await hashedAt(fd, [offset], signal, last)
    if (next?.hash.copy().digest('hex') !== sha256) break
    last = next
  }
  return last
}

/** Stops where the file ends. */
async function hashedAt(
  fd: number,
  offsets: readonly number[],
  signal: AbortSignal,
  from: Begun = { offset: 0, hash: createHash('sha256') },
): Promise<Begun[]> {
  const piece = Buffer.allocUnsafe(Math.min(pieceBytes, Math.max(0, (offsets.at(-1) ?? 0) - from.offset)))
  const hash = from.hash.copy()
  const found: Begun[] = []
  let at = from.offset
  for (const offset of offsets) {
    while (at < offset) {
      signal.throwIfAborted()
      const read = await readFully(fd, piece.subarray(0, offset - at), at)
      if (read === 0) return found
      hash.update(piece.subarray(0, read))
      at += read
    }
    found.push({ offset, hash: hash.copy() })
  }
  return found
}

/** The SHA-256 of the first `size` bytes of the file, or of all that there are. */
export async function sumOf(fd: number, size: number, signal: AbortSignal): Promise<string> {
  if (size === 0) return createHash('sha256').digest('hex')
  const [whole] = await hashedAt(fd, [size], signal)
  return whole ? whole.hash.digest('hex') : ''
}
