import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { rename, unlink } from 'node:fs/promises'
import { RelayError } from '../errors.ts'
import type { Directory } from '../files/place.ts'
import { brokenOff } from './conversation.ts'
import { parted } from './entry-names.ts'
import {
  type Ground,
  isOurs,
  modeOf,
  partialName,
  type ReceiveOptions,
  secondsOf,
  temporaryName,
} from './ground.ts'
import type { Begun } from './marks.ts'
import {
  close,
  codeOf,
  fchmod,
  fstat,
  fsync,
  ftruncate,
  futimes,
  open,
  writeAll,
  writeFully,
} from './system.ts'
import { whatIs } from './target.ts'

/** What the header of a file says. */
export interface Incoming {
  readonly path: string
  readonly mode: number
  readonly mtimeMs: number
  /** Of its body, which begins at `from`. */
  readonly size: number
  readonly from: number
}

/** A file whose bytes are there, and whose name waits for the word that they are the right ones. */
export interface Landed {
  readonly sha256: string
  readonly size: number
  confirm(): Promise<void>
  discard(): Promise<void>
}

/** From this size on a file is on the disk before it gets its name; smaller ones are too many to wait for each. */
const syncedBytes = 1_048_576

/** Writes what has come as a whole. */
export async function landSmall(
  { path, ...incoming }: Incoming,
  bytes: Buffer,
  ground: Ground,
  options: ReceiveOptions,
): Promise<Landed> {
  const { directory, name } = parted(ground.place(path))
  return await ground.tree!.within(directory, async ({ entry }) => {
    const own = ground.way === 'staged' ? name : temporaryName()
    const fd = await openNew(entry(own), ground, options)
    try {
      await writeFully(fd, bytes, 0)
      await finish(fd, incoming, bytes.length, options)
    } catch (error) {
      await unlink(entry(own)).catch(() => {})
      throw error
    } finally {
      await close(fd)
    }
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    return landed({ own, name, directory, sha256, size: bytes.length }, ground)
  })
}

/** Writes a file as it comes. What breaks off stays if it is for another time. */
export async function landLarge(
  { path, ...incoming }: Incoming,
  body: AsyncIterable<Buffer>,
  begun: Begun | undefined,
  ground: Ground,
  options: ReceiveOptions,
): Promise<Landed> {
  const { directory, name } = parted(ground.place(path))
  return await ground.tree!.within(directory, async ({ entry }) => {
    const own = ground.way === 'staged' ? name : options.resume ? partialName(name) : temporaryName()
    const fd = begun
      ? await openPartial(entry(own), begun.offset)
      : await openNew(entry(own), ground, options)
    let isWhole = false
    try {
      const hash = begun ? begun.hash.copy() : createHash('sha256')
      const at = await writeBody(fd, body, incoming.from, bytes => void hash.update(bytes))
      if (at !== incoming.from + incoming.size) throw brokenOff()
      await finish(fd, incoming, at, options)
      isWhole = true
      return landed({ own, name, directory, sha256: hash.digest('hex'), size: at }, ground)
    } finally {
      await close(fd)
      if (!isWhole && !options.resume) await unlink(entry(own)).catch(() => {})
    }
  })
}

/** What a tunnel brings comes in small pieces, and each write waits for a thread: several of them go in one. */
const writtenBytes = 524_288

/** Answers where it has ended. One write is under way while what is to be written next comes in. */
async function writeBody(
  fd: number,
  body: AsyncIterable<Buffer>,
  from: number,
  seen: (bytes: Buffer) => void,
): Promise<number> {
  let at = from
  let length = 0
  let pieces: Buffer[] = []
  let writing: Promise<void> = Promise.resolve()
  const write = async () => {
    await writing
    writing = writeAll(fd, pieces, at)
    // It is waited for before the next, or at the end.
    writing.catch(() => {})
    at += length
    pieces = []
    length = 0
  }
  try {
    for await (const bytes of body) {
      seen(bytes)
      pieces.push(bytes)
      length += bytes.length
      if (length >= writtenBytes) await write()
    }
  } finally {
    // Also what has come before it broke off: the next try goes on from there.
    if (length > 0) await write()
    await writing
  }
  return at
}

async function finish(
  fd: number,
  { mode, mtimeMs }: Pick<Incoming, 'mode' | 'mtimeMs'>,
  size: number,
  { specialBits }: ReceiveOptions,
): Promise<void> {
  await fchmod(fd, modeOf(mode, specialBits))
  await futimes(fd, secondsOf(mtimeMs), secondsOf(mtimeMs))
  if (size >= syncedBytes) await fsync(fd)
}

const { O_CREAT, O_EXCL, O_WRONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK } = constants

/** A new file of ours, and never what somebody has laid there. */
async function openNew(path: string, { way }: Ground, { resume }: ReceiveOptions): Promise<number> {
  const make = () => open(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
  try {
    return await make()
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || !resume) throw error
  }
  // What is left of an earlier try, and is not what the sender has now.
  if (way === 'staged' && (await whatIs(path)) === 'directory') {
    throw new RelayError('conflict', { what: path, why: 'an earlier copy has left a directory of that name' })
  }
  await unlink(path)
  return await make()
}

/** What an earlier copy has left. A file with another name somewhere, or of somebody else, is none of ours. */
export async function openPartial(path: string, size?: number): Promise<number> {
  const fd = await open(path, (size === undefined ? 0 : O_RDWR) | O_NOFOLLOW | O_NONBLOCK)
  try {
    const stats = await fstat(fd)
    if (!stats.isFile() || stats.nlink !== 1 || !isOurs(stats.uid) || stats.size < (size ?? 0)) {
      throw new RelayError('conflict', { what: path, why: 'it is not what an earlier copy has left' })
    }
    if (size !== undefined) await ftruncate(fd, size)
    return fd
  } catch (error) {
    await close(fd)
    throw error
  }
}

interface Lying {
  readonly own: string
  readonly name: string
  readonly directory: string
  readonly sha256: string
  readonly size: number
}

function landed({ own, name, directory, sha256, size }: Lying, { tree, way }: Ground): Landed {
  const there = (act: (directory: Directory) => Promise<void>) => tree!.within(directory, act)
  return {
    sha256,
    size,
    confirm: async () => {
      if (way === 'merged') await there(({ entry }) => named(entry(own), entry(name)))
    },
    discard: () =>
      there(async ({ entry }) => {
        await unlink(entry(own)).catch(error => {
          if (codeOf(error) !== 'ENOENT') throw error
        })
      }),
  }
}

/** Puts an entry in the place of a file or a link, and of nothing else. */
export async function named(own: string, name: string): Promise<void> {
  const found = await whatIs(name)
  if (found === 'directory' || found === 'other') {
    const why =
      found === 'directory' ? 'a directory has that name' : 'something that is no file has that name'
    throw new RelayError('conflict', { what: name, why })
  }
  await rename(own, name)
}
