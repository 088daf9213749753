import { RelayError } from '#relay/errors.ts'
import { StoreError } from '../store.ts'

/** The primary result codes of SQLite that mean something to whoever runs the controller. */
export const sqlite = {
  busy: 5,
  readOnly: 8,
  io: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const

/** SQLITE_IOERR_WRITE: also what it makes of a file system that became read-only. */
const writeFailed = 778

/** The primary code: SQLite puts the details into the bits above it. */
export function codeOf(error: unknown): number | undefined {
  const code = extendedCodeOf(error)
  return code === undefined ? undefined : code & 0xff
}

function extendedCodeOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode : undefined
}

/** For everything that SQLite refused before or instead of a commit: it did not happen. */
export function unavailable(error: unknown, what: string): RelayError {
  if (error instanceof RelayError) return error
  return new StoreError('Unavailable', { what, ...reasonOf(error), cause: error })
}

/**
 * For a COMMIT that failed. A full disk, a lock, a read-only file and a write that fails stop it before its last page
 * is in the log. After any other failure, such as one of fsync, all of it may be there and come back after a crash.
 */
export function commitFailed(error: unknown): RelayError {
  const neverWritten = [sqlite.full, sqlite.busy, sqlite.readOnly].some(code => code === codeOf(error))
  if (neverWritten || extendedCodeOf(error) === writeFailed) {
    return unavailable(error, 'The store cannot commit')
  }
  return new StoreError('UnknownOutcome', {
    what: 'The store does not know whether the commit is on disk',
    why: reasonOf(error).why,
    fix: 'Read again before repeating it',
    cause: error,
  })
}

function reasonOf(error: unknown): { why: string; fix?: string } {
  switch (codeOf(error)) {
    case sqlite.full:
      return { why: 'the disk is full', fix: 'Free some space; the store goes on by itself' }
    case sqlite.readOnly:
      return {
        why: 'its files or its file system are read-only',
        fix: 'Make them writable; the store goes on by itself',
      }
    case sqlite.busy:
      return { why: 'another program has locked its files', fix: 'End that program' }
    case sqlite.corrupt:
    case sqlite.notADatabase:
      return { why: 'its file is damaged', fix: 'Stop the controller and restore a backup' }
    case sqlite.cannotOpen:
      return { why: 'a file cannot be opened or created', fix: 'Check the free space and the permissions' }
    case sqlite.io:
      if (extendedCodeOf(error) !== writeFailed)
        return { why: 'the disk reports an error', fix: 'Check the disk' }
      return {
        why: 'the disk does not take what is written to it, or has become read-only',
        fix: 'Check the disk; the store goes on by itself when it can write again',
      }
    default:
      return { why: messageOf(error) }
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
