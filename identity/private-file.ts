import { randomBytes } from 'node:crypto'
import { link, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { IdentityError } from './errors.ts'

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
  const { mode, size } = await file.stat()
  if ((mode & 0o077) !== 0) {
    throw new IdentityError('untrusted', {
      what: `${path} refused`,
      why: `others can read or write this private file (its mode is ${octal(mode)})`,
      fix: `Run: chmod 600 ${quoted(path)}`,
    })
  }
  await requireOwnDirectory(dirname(path))
  if (size > maxBytes) {
    throw new IdentityError('corrupt', { what: `${path} refused`, why: `it has ${size} bytes, far too many` })
  }
  return await file.readFile('utf8')
}

async function makePrivateDirectory(directory: string): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode: 0o700 })
  if (made !== undefined) await syncDirectory(dirname(made))
  await requireOwnDirectory(directory)
}

/** Whoever may write to the directory may replace the file, whatever the file's own mode is. */
async function requireOwnDirectory(directory: string): Promise<void> {
  const { mode } = await stat(directory)
  if ((mode & 0o022) === 0) return
  throw new IdentityError('untrusted', {
    what: `${directory} refused`,
    why: `others can replace the private files in it (its mode is ${octal(mode)})`,
    fix: `Run: chmod 700 ${quoted(directory)}`,
  })
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
    return await open(path, 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
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
const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0')
const quoted = (path: string): string =>
  /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
