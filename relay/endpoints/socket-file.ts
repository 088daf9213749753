import type { Stats } from 'node:fs'
import { chmod, chown, link, lstat, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { RelayError } from '../errors.ts'
import type { namedOptions } from '../option-groups.ts'
import type { OptionValues } from '../options.ts'
import { accountId } from './accounts.ts'
import { type Placed, placed } from './placed.ts'
import { connectUnix, errnoOf } from './unix-dial.ts'
import { longestName } from './unix-name.ts'

export type SocketFileOptions = OptionValues<readonly [typeof namedOptions]>

const privatePrefix = '.fc-'
const privateName = 's'
/** What the private directory adds to that of the socket: `/.fc-123456/s`. */
const privateExtra = 1 + privatePrefix.length + 6 + 1 + privateName.length

/**
 * Lets `listen` make a socket and puts it at `path`. It is made in a directory that only this user can enter, and
 * moved when its owner and mode are right: nobody can connect before, and on closing Node removes the name that it
 * made, which by then is nobody's. Rejects with a RelayError, and then leaves no file behind.
 */
export async function placeSocket(
  path: string,
  options: SocketFileOptions,
  what: string,
  listen: (path: string) => Promise<void>,
): Promise<Placed> {
  const replaces = options.unlinkEarly ?? false
  checkLength(path, what)
  await checkPlace(path, replaces, what)
  const directory = await privateDirectory(path, what)
  try {
    const made = join(directory, privateName)
    await listen(made)
    await dress(made, options, what)
    await move(made, path, replaces)
    return placed(path)
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') await checkPlace(path, replaces, what)
    throw RelayError.from(error, what)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function checkLength(path: string, what: string): void {
  const room = longestName - privateExtra
  if (Buffer.byteLength(dirname(path)) <= room) return
  const why = `a socket is made in a private directory beside its place, and there names may be ${longestName} bytes long`
  throw new RelayError('usage', { what, why, fix: `Choose a directory of at most ${room} bytes` })
}

/** Throws when what is at `path` is not ours to replace. */
async function checkPlace(path: string, replaces: boolean, what: string): Promise<void> {
  const there = await lstat(path).catch(() => undefined)
  if (!there) return
  if (!there.isSocket()) {
    const kind = there.isDirectory() ? 'a directory' : 'something that is no socket'
    throw new RelayError('conflict', { what, why: `${kind} is at ${path}`, fix: 'Choose another path' })
  }
  if (!replaces) throw await taken(path, there, what)
}

async function taken(path: string, { uid }: Stats, what: string): Promise<RelayError> {
  const failure = await connectUnix(path).then(socket => void socket.destroy(), errnoOf)
  const owner = uid === process.getuid?.() ? '' : `, of user ${uid},`
  const refuse = (why: string, fix: string) => new RelayError('address-in-use', { what, why, fix })
  if (failure === 'ECONNREFUSED') {
    const why = `an old socket${owner} is at ${path}, and nobody listens on it any more`
    return refuse(why, 'Write `unlink-early` to replace it, or remove it')
  }
  if (failure === 'EACCES') {
    return refuse(`a socket${owner} is at ${path}, and this process may not use it`, 'Choose another path')
  }
  return refuse(`another program listens on ${path}`, 'Stop it, or choose another path')
}

async function privateDirectory(path: string, what: string): Promise<string> {
  const parent = dirname(path)
  try {
    return await mkdtemp(join(parent, privatePrefix))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') {
      throw new RelayError('not-found', {
        what,
        why: `there is no directory ${parent}`,
        fix: 'Make it first',
      })
    }
    throw RelayError.from(error, `${what}: making a socket in ${parent}`)
  }
}

/** The owner first: a new owner may not change the mode to what was asked for. */
export async function dress(made: string, { user, group, mode, umask }: SocketFileOptions, what: string) {
  if (user !== undefined || group !== undefined) {
    const uid = user === undefined ? -1 : await accountId('user', user, what)
    const gid = group === undefined ? -1 : await accountId('group', group, what)
    await chown(made, uid, gid)
  }
  const wanted = modeOf({ mode, umask })
  if (wanted !== undefined) await chmod(made, wanted)
}

/** The mode that the address asks for; undefined where it leaves that to the umask of the process. */
export function modeOf({ mode, umask }: Pick<SocketFileOptions, 'mode' | 'umask'>): number | undefined {
  return mode ?? (umask === undefined ? undefined : 0o777 & ~umask)
}

/** A link fails where something is, which a rename would replace. Not every system has links of sockets. */
async function move(from: string, to: string, replaces: boolean): Promise<void> {
  if (!replaces) {
    const failure = await link(from, to).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failure === undefined) return
    if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM'].includes(errnoOf(failure) ?? '')) throw failure
  }
  await rename(from, to)
}
