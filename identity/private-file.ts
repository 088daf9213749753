import { randomBytes } from 'node:crypto'
import { constants, link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { IdentityError } from './errors.ts'
import { requireOwn, requireOwnDirectory } from './ownership.ts'

/** More than any key with its certificates takes. */
const maxBytes = 256 * 1024

/**
 * Writes a file that only its owner can read, whole or not at all: a crash at any moment leaves the old file or the new
 * one. `keep` leaves a file that is there already as it is, and says so with `false`.
 */
export async function writePrivateFile(
  path: string,
  text: string,
  existing: 'replace' | 'keep',
): Promise<boolean> {
  const directory = dirname(path)
  await makePrivateDirectory(directory)
  await removeLeftovers(path)
  const temporary = join(directory, `.${basename(path)}.${randomBytes(8).toString('hex')}`)
  try {
    await using file = await open(temporary, 'wx', 0o600)
    await file.writeFile(text)
    await file.sync()
    if (existing === 'replace') await rename(temporary, path)
    else if (!(await linkedAs(path, temporary))) return false
  } finally {
    await rm(temporary, { force: true })
  }
  await syncDirectory(directory)
  return true
}

/** The text of a private file, or undefined when there is none. Refuses what others could have read or put there. */
export async function readPrivateFile(path: string): Promise<string | undefined> {
  await using file = await openIfThere(path)
  if (file === undefined) return undefined
  const found = await file.stat()
  if (!found.isFile()) throw refused(path, 'it is no regular file')
  const why = 'others can read or write this private file'
  requireOwn(path, found, { mode: 0o077, why, chmod: '600' })
  await requireOwnDirectory(dirname(path))
  // A directory that is read-only is no reason not to read.
  await removeLeftovers(path).catch(() => {})
  if (found.size > maxBytes) {
    throw new IdentityError('corrupt', {
      what: `${path} refused`,
      why: `it has ${found.size} bytes, far too many`,
    })
  }
  return await file.readFile('utf8')
}

const refused = (path: string, why: string) =>
  new IdentityError('untrusted', { what: `${path} refused`, why, fix: 'Put the file itself there' })

/** A save takes milliseconds: what lies there for longer is of a process that was killed in the middle of one. */
const abandonedMs = 60_000

/** They hold keys. Another process may be about to save too, so the young ones stay. */
async function removeLeftovers(path: string): Promise<void> {
  const directory = dirname(path)
  const ours = `.${basename(path)}.`
  const left = (await readdir(directory)).filter(
    name => name.startsWith(ours) && /^[0-9a-f]{16}$/.test(name.slice(ours.length)),
  )
  for (const name of left) {
    const leftover = join(directory, name)
    const { mtimeMs = Date.now() } = (await stat(leftover).catch(() => undefined)) ?? {}
    if (Date.now() - mtimeMs > abandonedMs) await rm(leftover, { force: true })
  }
}

async function makePrivateDirectory(directory: string): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode: 0o700 })
  if (made !== undefined) await syncDirectory(dirname(made))
  await requireOwnDirectory(directory)
}

async function linkedAs(path: string, temporary: string): Promise<boolean> {
  try {
    await link(temporary, path)
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
}

async function openIfThere(path: string) {
  try {
    // Without waiting for a writer, should somebody have put a pipe there.
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    if (isErrno(error, 'ELOOP')) throw refused(path, 'it is a symbolic link')
    throw error
  }
}

/** Without it the new name may be lost in a power cut, though the file itself is safe. */
async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r')
  await handle.sync()
}

const isErrno = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code
