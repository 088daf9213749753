import * as fs from 'node:fs'
import { promisify } from 'node:util'

/** The calls that a copy makes for every file. A FileHandle for each would cost more than a small file does. */
export const open = promisify(fs.open)
export const close = promisify(fs.close)
export const fstat = promisify(fs.fstat)
export const fchmod = promisify(fs.fchmod)
export const futimes = promisify(fs.futimes)
export const fsync = promisify(fs.fsync)
export const ftruncate = promisify(fs.ftruncate)

/** As much as the buffer takes, or less where the file ends. */
export async function readFully(fd: number, into: Buffer, position: number): Promise<number> {
  let filled = 0
  while (filled < into.length) {
    const read = await readOnce(fd, into, filled, position + filled)
    if (read === 0) break
    filled += read
  }
  return filled
}

function readOnce(fd: number, into: Buffer, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, into, at, into.length - at, position, (error, read) =>
      error ? reject(error) : resolve(read),
    )
  })
}

export async function writeFully(fd: number, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += await writeOnce(fd, bytes, at, position + at)
}

/** Writes the pieces one behind the other, in one call as a rule. */
export async function writeAll(fd: number, pieces: readonly Buffer[], position: number): Promise<void> {
  const written = await new Promise<number>((resolve, reject) => {
    fs.writev(fd, pieces, position, (error, written) => (error ? reject(error) : resolve(written)))
  })
  const size = pieces.reduce((sum, { length }) => sum + length, 0)
  if (written < size) await writeFully(fd, Buffer.concat(pieces).subarray(written), position + written)
}

function writeOnce(fd: number, bytes: Buffer, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, at, bytes.length - at, position, (error, written) =>
      error ? reject(error) : resolve(written),
    )
  })
}

/** What ends a copy, whichever entry it came up at: the next one would not fare better. */
const hopeless = new Set(['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM'])

export const isHopeless = (error: unknown): boolean => hopeless.has(codeOf(error) ?? '')

export function codeOf(error: unknown): string | undefined {
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' ? code : undefined
}
