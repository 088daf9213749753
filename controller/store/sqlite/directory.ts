import { chmodSync, closeSync, fsyncSync, openSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { holdDirectory as hold, makeDirectory } from '#disk/hold.ts'
import { RelayError } from '#relay/errors.ts'
import { codeOf, unavailable } from './failure.ts'

export interface Directory extends Disposable {
  /** The database file; it may not exist yet. */
  readonly file: string
}

/** Makes the directory if need be, and holds it until disposal or the death of this process. */
export function holdDirectory(path: string): Directory {
  const directory = resolve(path)
  try {
    makePrivate(directory)
    const held = hold(directory, 'store', {
      what: `The store in ${directory} cannot be opened`,
      fix: 'Stop that controller first, or give this one a directory of its own',
    })
    return { file: join(directory, 'store.db'), [Symbol.dispose]: () => held[Symbol.dispose]() }
  } catch (error) {
    const what = `The store cannot use ${directory}`
    throw codeOf(error) === undefined ? RelayError.from(error, what) : unavailable(error, what)
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

function makePrivate(directory: string): void {
  if (makeDirectory(directory)) {
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
