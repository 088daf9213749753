import { lstat, mkdtemp, readlink, rename, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { RelayError } from '../errors.ts'
import { type Placed, placed } from './placed.ts'
import { errnoOf } from './unix-dial.ts'

/**
 * A symbolic link at `path` to a terminal. One to another terminal gives way to it, as in socat; with `replaces` any
 * symbolic link does, and nothing else ever. Rejects with a RelayError, and then leaves nothing behind.
 */
export async function placeLink(
  path: string,
  terminal: string,
  replaces: boolean,
  what: string,
): Promise<Placed> {
  try {
    const made = await symlink(terminal, path).then(() => true, isThere)
    if (!made) {
      await checkReplaceable(path, replaces, what)
      await replaceWith(path, terminal)
    }
    return placed(path)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw RelayError.from(error, `${what}: the link ${path}`)
    const why = `there is no directory ${dirname(path)}`
    throw new RelayError('not-found', { what, why, fix: 'Make it first', cause: error })
  }
}

function isThere(error: unknown): false {
  if (errnoOf(error) === 'EEXIST') return false
  throw error
}

async function checkReplaceable(path: string, replaces: boolean, what: string): Promise<void> {
  const there = await lstat(path)
  const refuse = (why: string, fix: string) => new RelayError('conflict', { what, why, fix })
  if (!there.isSymbolicLink()) {
    const kind = there.isDirectory() ? 'a directory' : 'something that is no symbolic link'
    throw refuse(`${kind} is at ${path}`, 'Choose another path')
  }
  const target = await readlink(path)
  if (replaces || /^\/dev\/pts\/\d+$/.test(target)) return
  throw refuse(
    `a link to ${target} is at ${path}`,
    'Write `unlink-early` to replace it, or choose another path',
  )
}

/** Whoever looks finds the old link or the new one. */
async function replaceWith(path: string, terminal: string): Promise<void> {
  const directory = await mkdtemp(join(dirname(path), '.fc-'))
  try {
    const made = join(directory, 'l')
    await symlink(terminal, made)
    await rename(made, path)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
