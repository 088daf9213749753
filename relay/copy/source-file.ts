import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { RelayError } from '../errors.ts'
import { parted } from './entry-names.ts'
import { agreement } from './marks.ts'
import type { Answer } from './messages.ts'
import type { Entry } from './survey.ts'
import { close, fstat, open, readFully } from './system.ts'
import type { TarWriter } from './tar-writer.ts'
import type { Tree } from './tree.ts'

/** Files of up to this are read at once and ahead of their turn; larger ones piece by piece, in their turn. */
export const smallBytes = 131_072
const pieceBytes = 262_144

/** Opens what the entry names, if that is a file. Never waits for the writer of a pipe, and follows no link. */
export async function openSource(tree: Tree, { path, at = path }: Entry): Promise<number> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants
  const { directory, name } = parted(at)
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
  return await tree.within(directory, ({ entry }) => open(entry(name), flags))
}

/** The whole of a small file. Undefined if it has grown meanwhile, or is no file any more. */
export async function readSmall(tree: Tree, entry: Entry): Promise<Buffer | undefined> {
  const fd = await openSource(tree, entry)
  try {
    const stats = await fstat(fd)
    if (!stats.isFile() || stats.size > smallBytes) return undefined
    const bytes = Buffer.allocUnsafe(stats.size + 1)
    const read = await readFully(fd, bytes, 0)
    return read <= stats.size ? bytes.subarray(0, read) : undefined
  } finally {
    await close(fd)
  }
}

export interface Sent {
  readonly is: 'sent' | 'kept' | 'changed'
  readonly size: number
  readonly from: number
  readonly sha256: string
}

/** Sends a file piece by piece, from where the receiver's part of it ends. */
export async function sendLarge(
  tree: Tree,
  entry: Entry,
  answer: Answer | undefined,
  tar: TarWriter,
  signal: AbortSignal,
): Promise<Sent> {
  const fd = await openSource(tree, entry)
  try {
    const before = await fstat(fd)
    if (!before.isFile()) {
      throw new RelayError('conflict', { what: entry.path, why: 'it is no file any more' })
    }
    const { size } = before
    if (answer?.is === 'there' && size === entry.size) {
      const { offset, hash } = await agreement(fd, [{ offset: size, sha256: answer.sha256 }], signal)
      if (offset === size) return { is: 'kept', size, from: size, sha256: hash.digest('hex') }
    }
    const marks = (answer?.marks ?? []).filter(({ offset }) => offset <= size)
    const { offset: from, hash } = await agreement(fd, marks, signal)
    const body = tar.file(entry, size - from, from)
    let isWhole = true
    let reading = nextPiece(fd, from, size)
    for (let at = from; at < size; ) {
      signal.throwIfAborted()
      const { bytes, read } = await reading
      // What is missing has to be made up, for a tar stream cannot take back what it has promised.
      if (read < bytes.length) {
        isWhole = false
        bytes.fill(0, read)
      }
      at += bytes.length
      reading = nextPiece(fd, at, size)
      hash.update(bytes)
      await body.write(bytes).catch(async error => {
        await reading
        throw error
      })
    }
    await reading
    await body.end()
    const after = await fstat(fd)
    const isSame = isWhole && after.size === size && after.mtimeMs === before.mtimeMs
    return { is: isSame ? 'sent' : 'changed', size, from, sha256: hash.digest('hex') }
  } finally {
    await close(fd)
  }
}

/** Read while the one before is still being written. Never rejects before it is asked for. */
async function nextPiece(fd: number, at: number, size: number): Promise<{ bytes: Buffer; read: number }> {
  const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(pieceBytes, size - at)))
  return { bytes, read: bytes.length === 0 ? 0 : await readFully(fd, bytes, at).catch(() => 0) }
}

export const sha256Of = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
