import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { RelayError } from '#relay/errors.ts'
import { codeOf, sqlite, unavailable } from './failure.ts'

export interface Directory extends Disposable {
  /** The database file; it may not exist yet. */
  readonly file: string
}

/** Makes the directory if need be, and holds it until disposal or the death of this process. */
export function holdDirectory(path: string): Directory {
  const directory = resolve(path)
  try {
    makePrivate(directory)
    const release = lock(directory)
    return { file: join(directory, 'store.db'), [Symbol.dispose]: release }
  } catch (error) {
    throw RelayError.from(error, `The store cannot use ${directory}`)
  }
}

/** An empty file that only we may read; fails if it exists. */
export function createPrivateFile(path: string): void {
  closeSync(openSync(path, 'wx', 0o600))
}

/** For a file that came from elsewhere, such as a backup; what SQLite creates beside it takes its mode. */
export function makeFilePrivate(path: string): void {
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600)
}

/** A new name in a directory survives a power cut only when the directory is on disk too. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Node says ENOENT of a directory that cannot be made on a read-only disk; the parent knows the true reason. */
function make(directory: string): string | undefined {
  try {
    return mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    let parent = dirname(directory)
    while (!existsSync(parent)) parent = dirname(parent)
    accessSync(parent, constants.W_OK)
    throw error
  }
}

function makePrivate(directory: string): void {
  if (make(directory)) {
    syncDirectory(dirname(directory))
    return
  }
  const mode = statSync(directory).mode & 0o777
  if ((mode & 0o077) === 0) return
  throw new RelayError('denied', {
    what: `The store cannot use ${directory}`,
    why: `others than its owner can enter it (mode ${mode.toString(8).padStart(4, '0')})`,
    fix: `Run \`chmod 700 ${directory}\`, or name a new directory below it`,
  })
}

/**
 * The kernel takes an SQLite lock back when the process dies, however it dies. It stands on a file of its own that
 * nothing else ever opens: closing *any* descriptor of a locked file would drop the lock, so copying the locked file
 * from within this process would be enough to lose it.
 */
function lock(directory: string): () => void {
  const path = join(directory, 'store.lock')
  const note = join(directory, 'store.pid')
  if (!existsSync(path)) createPrivateFile(path)
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (codeOf(error) === sqlite.busy) throw heldBy(directory, holder(note))
    throw unavailable(error, `The store cannot lock ${directory}`)
  }
  try {
    writeFileSync(note, `${process.pid}\n`, { mode: 0o600 })
  } catch {
    // The note only makes a refusal more helpful; a full disk must not cost more than that.
  }
  return () => {
    rmSync(note, { force: true })
    database.close()
  }
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

function heldBy(directory: string, who: string): RelayError {
  return new RelayError('conflict', {
    what: `The store in ${directory} cannot be opened`,
    why: `${who} has it open`,
    fix: 'Stop that controller first, or give this one a directory of its own',
  })
}
