import { constants } from 'node:fs'
import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { RelayError } from '../errors.ts'

/** A file that is only appended to. Nobody waits for it. */
export interface RotatingFile extends AsyncDisposable {
  /** Is there room for so many bytes more? */
  hasRoom(bytes: number): boolean
  /** To be written as soon as can be, and into one file. `lost` is called if it could not be. */
  append(bytes: Buffer, lost: () => void): void
}

export interface RotatingFileOptions {
  readonly path: string
  /** What it is called in errors: `dump file`. */
  readonly called: string
  /** A file that would grow beyond this is renamed, and a new one begun. */
  readonly maxBytes: number
  /** How many are kept beside the newest. */
  readonly keep: number
  /** Does something with the file by a name that leads to it; rejects if it may not be written. */
  readonly inPlace: <T>(act: (name: string) => Promise<T>) => Promise<T>
  /** Told once, until it is better: what has been appended since is lost. */
  readonly failed: (error: RelayError) => void
}

interface Block {
  readonly bytes: Buffer
  readonly lost: () => void
}

/** Bytes that may wait to be written. */
const room = 4 * 1_048_576
const retryMs = 1_000
/** What went through relays is nobody's business but the owner's. */
const mode = 0o600
/** The last name on the path is a file's, and opening it makes nobody wait. */
const flags =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

interface OpenFile {
  readonly handle: FileHandle
  size: number
}

/** Opens it, or makes it. Rejects with a RelayError that names it. */
export async function openRotatingFile(options: RotatingFileOptions): Promise<RotatingFile> {
  const { path, called, maxBytes, keep, failed } = options
  const what = `${called} ${path}`
  const closing = new AbortController()
  const waiting: Block[] = []
  let waitingBytes = 0
  let writing: Promise<void> | undefined
  let isBroken = false
  let file: OpenFile | undefined = await openFile()

  async function openFile(): Promise<OpenFile> {
    let handle: FileHandle | undefined
    try {
      handle = await options.inPlace(name => open(name, flags, mode))
      const stats = await handle.stat()
      if (!stats.isFile()) throw new RelayError('usage', { what, why: 'it is no regular file' })
      return { handle, size: stats.size }
    } catch (thrown) {
      await handle?.close()
      throw RelayError.from(thrown, what)
    }
  }

  const closeFile = async () => {
    const { handle } = file ?? {}
    file = undefined
    await handle?.close()
  }

  /** `wire.log.4` becomes `wire.log.5`, and so on down to `wire.log`, which becomes `wire.log.1`. */
  const rotate = async () => {
    await closeFile()
    await options.inPlace(async name => {
      if (keep === 0) await unlink(name)
      for (let n = keep; n > 0; n--) {
        const older = n === 1 ? name : `${name}.${n - 1}`
        await rename(older, `${name}.${n}`).catch(thrown => {
          if (thrown.code !== 'ENOENT') throw thrown
        })
      }
    })
  }

  /** As many as fit into one file, at least one. */
  const takeBatch = (left: number): Block[] => {
    let length = 0
    let count = 0
    for (const { bytes } of waiting) {
      if (count > 0 && length + bytes.length > left) break
      length += bytes.length
      count++
    }
    return waiting.splice(0, count)
  }

  const writeBatch = async (batch: readonly Block[]) => {
    const bytes = Buffer.concat(batch.map(({ bytes }) => bytes))
    try {
      file ??= await openFile()
      if (file.size > 0 && file.size + bytes.length > maxBytes) {
        await rotate()
        file = await openFile()
      }
      await file.handle.writeFile(bytes)
      file.size += bytes.length
      isBroken = false
    } catch (thrown) {
      for (const { lost } of batch) lost()
      if (!isBroken) failed(RelayError.from(thrown, what))
      isBroken = true
      await closeFile().catch(() => {})
      await sleep(retryMs, undefined, { signal: closing.signal }).catch(() => {})
    } finally {
      waitingBytes -= bytes.length
    }
  }

  const writeAll = async () => {
    while (waiting.length > 0) {
      if (isBroken && closing.signal.aborted) {
        for (const { lost } of waiting.splice(0)) lost()
        return
      }
      await writeBatch(takeBatch(maxBytes - (file?.size ?? 0)))
    }
  }

  return {
    hasRoom: bytes => waitingBytes + bytes <= room,
    append(bytes, lost) {
      waiting.push({ bytes, lost })
      waitingBytes += bytes.length
      writing ??= writeAll().finally(() => {
        writing = undefined
      })
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await writing
      await closeFile()
    },
  }
}
