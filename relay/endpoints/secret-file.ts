import { constants, type Stats } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { RelayError } from '../errors.ts'

/** More than any list of passwords needs. */
const largestFile = 1_048_576

/**
 * The text of a file that holds secrets. Rejects with a RelayError that names the file when it is not there, or when
 * others could have read it or written to it.
 */
export async function readSecretFile(path: string, what: string): Promise<string> {
  let file: FileHandle | undefined
  try {
    // A pipe in place of a file would keep its opener waiting.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const found = await file.stat()
    if (!found.isFile() || found.size > largestFile) {
      throw new RelayError('usage', { what, why: 'it is no file of a few lines', fix: 'Name a text file' })
    }
    requirePrivate(path, found, what)
    return await file.readFile('utf8')
  } catch (thrown) {
    throw unreadable(thrown, what)
  } finally {
    await file?.close()
  }
}

/** Changes whenever the file does; empty if it is not there. */
export async function secretStamp(path: string): Promise<string> {
  const seen = await stat(path).catch(() => undefined)
  return seen ? `${seen.dev}:${seen.ino}:${seen.mtimeMs}:${seen.ctimeMs}:${seen.size}` : ''
}

function requirePrivate(path: string, { uid, mode }: Stats, what: string): void {
  const own = process.geteuid?.()
  if (own === undefined) return
  if (uid !== own && uid !== 0) {
    const why = `it belongs to another user (uid ${uid})`
    throw new RelayError('denied', { what, why, fix: `Run: chown ${userInfo().username} ${path}` })
  }
  if (mode & 0o077) {
    const why = `others can read or write it (its mode is ${(mode & 0o7777).toString(8).padStart(4, '0')})`
    throw new RelayError('denied', { what, why, fix: `Run: chmod 600 ${path}` })
  }
}

function unreadable(thrown: unknown, what: string): RelayError {
  const error = RelayError.from(thrown, what)
  if (error.cause !== thrown) return error
  const fixes: Partial<Record<typeof error.code, string>> = {
    'not-found': 'Check the path; it is one of the host that opens the address',
    denied: `Let the user \`${userInfo().username}\`, and nobody else, read it`,
  }
  return new RelayError(error.code, { what, why: error.why, fix: fixes[error.code], cause: thrown })
}
