import { constants } from 'node:fs'
import { lstat, open, readlink, realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { checkLanding } from '../endpoints/landing.ts'

/** One entry of one directory, whatever happens to the names above it. */
export interface Entry {
  /** Where it really is, as the ceiling was asked about it. */
  readonly path: string
  /** The path to give to the system: it starts from the directory itself, not from its name. */
  readonly name: string
  /** No link has led from the address to here. */
  readonly isOriginal: boolean
}

/** As many links as the kernel follows. */
const mostLinks = 40

/**
 * Does something with the entry that this scope names. Whoever can write to a directory on the way could exchange it for
 * a link between the check and the act; so the directory is opened first, the ceiling is asked about where it really is,
 * and `act` starts from there. `act` itself must not follow links: it rejects with ELOOP at one, which is then followed
 * and judged in the same way, unless `follow` is false.
 */
export async function inPlace<T>(
  scope: Address,
  cx: Pick<OpenContext, 'egress'>,
  act: (entry: Entry) => Promise<T>,
  follow = true,
): Promise<T> {
  let path = scope.args[0]!
  for (let links = 0; ; links++) {
    await using directory = await openDirectory(dirname(path))
    const last = basename(path) || '.'
    const entry = { path: join(directory.path, last), name: directory.entry(last), isOriginal: links === 0 }
    checkLanding(scope, entry.path, cx)
    try {
      return await act(entry)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOOP' || !follow || links === mostLinks) throw error
      path = resolve(directory.path, await readlink(entry.name))
    }
  }
}

/** A directory that is held open: whatever happens to its name, it stays this one. */
export interface Directory extends AsyncDisposable {
  /** Where it was when it was opened. */
  readonly path: string
  /** The path of an entry of it to give to the system. */
  entry(name: string): string
}

/** Of Linux: the directory need not be readable, as for any other use of a name in it. */
const O_PATH = 0o10000000

/**
 * Elsewhere there is no such thing as a name that starts from a descriptor, and Node has no openat. Unless `follow`, a
 * link as the last name is as bad as a file.
 */
export async function openDirectory(path: string, { follow = true } = {}): Promise<Directory> {
  if (process.platform !== 'linux') {
    if (!follow && (await lstat(path)).isSymbolicLink()) throw notADirectory(path)
    const real = await realpath(path)
    return { path: real, entry: name => join(real, name), [Symbol.asyncDispose]: async () => {} }
  }
  const handle = await open(path, O_PATH | constants.O_DIRECTORY | (follow ? 0 : constants.O_NOFOLLOW))
  try {
    const self = `/proc/self/fd/${handle.fd}`
    return {
      path: await readlink(self),
      entry: name => join(self, name),
      [Symbol.asyncDispose]: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

const notADirectory = (path: string) => Object.assign(new Error(`${path} is a link`), { code: 'ENOTDIR' })

/** Where a descriptor is, if the system can tell. */
export async function placeOfDescriptor(fd: number): Promise<string | undefined> {
  return process.platform === 'linux' ? await readlink(`/proc/self/fd/${fd}`) : undefined
}
