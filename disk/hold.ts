import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { RelayError } from '#relay/errors.ts'

/**
 * Makes a directory and those above it that are missing, for this user alone; answers the topmost that it made. One by
 * one, for Node's own recursive way never ends where the kernel says ENOENT of a directory that is there, as in /proc,
 * and says ENOENT of a read-only disk.
 */
export function makeDirectory(path: string): string | undefined {
  if (existsSync(path)) return undefined
  const above = makeDirectory(dirname(path))
  mkdirSync(path, { mode: 0o700 })
  return above ?? path
}

/**
 * Holds a directory for this process, until disposal or its death, however it dies: the kernel takes an SQLite lock
 * back. The lock stands on a file of its own that nothing else ever opens: closing *any* descriptor of a locked file
 * would drop the lock, so copying it from within this process would be enough to lose it. `purpose` names the files.
 * Throws a RelayError `conflict` that says who holds it.
 */
export function holdDirectory(
  directory: string,
  purpose: string,
  refusal: { what: string; fix: string },
): Disposable {
  const path = join(directory, `${purpose}.lock`)
  const note = join(directory, `${purpose}.pid`)
  if (!existsSync(path)) closeSync(openSync(path, 'wx', 0o600))
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (!isBusy(error)) throw error
    throw new RelayError('conflict', { ...refusal, why: `${holder(note)} has it open` })
  }
  try {
    writeFileSync(note, `${process.pid}\n`, { mode: 0o600 })
  } catch {
    // The note only makes a refusal more helpful; a full disk must not cost more than that.
  }
  return {
    [Symbol.dispose]() {
      rmSync(note, { force: true })
      database.close()
    },
  }
}

const sqliteBusy = 5

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy
}

function holder(note: string): string {
  try {
    const pid = Number(readFileSync(note, 'utf8'))
    if (pid === process.pid) return 'this very process'
    if (Number.isInteger(pid) && pid > 0) return `process ${pid}`
  } catch {
    // No note: it could not be written, or it is just about to be.
  }
  return 'another process'
}
