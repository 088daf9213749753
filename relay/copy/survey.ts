import { isUtf8 } from 'node:buffer'
import type { Stats } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { RelayError } from '../errors.ts'
import type { Directory } from '../files/place.ts'
import { wrongPath } from './entry-names.ts'
import type { Judge } from './judge.ts'
import type { Listed, Refused } from './messages.ts'
import { isHopeless } from './system.ts'
import type { Tree } from './tree.ts'

/** What is to be sent. */
export interface Entry extends Listed {
  readonly mode: number
  /** Of a symbolic link what it says, of a hard one the path of the same file, which comes before it. */
  readonly link?: string
  /** Its path in the tree, where that differs. */
  readonly at?: string
}

/** More than this is refused at once, rather than by a host that is out of memory. */
const mostEntries = 4_000_000
const atATime = 64

export interface Surveying {
  readonly judge: Judge
  readonly refuse: (refused: Refused) => void
  readonly signal: AbortSignal
}

/**
 * All that is in the tree and can be sent, directories before what is in them, and files in the order of the bytes of
 * their paths. Links are not followed. Rejects only with what leaves no hope for the others.
 */
export async function survey(tree: Tree, { judge, refuse, signal }: Surveying): Promise<Entry[]> {
  const entries: Entry[] = []
  /** The first path of each file that has several. */
  const firstOf = new Map<string, string>()

  async function walk(path: string): Promise<void> {
    signal.throwIfAborted()
    const found = await tree.within(path, directory => look(directory, path, refuse))
    for (const { name, stats, link } of found) {
      const at = path === '' ? name : `${path}/${name}`
      if (!allowed(at, stats)) continue
      if (entries.length >= mostEntries) throw tooMany
      entries.push(entryOf(at, stats, link))
      if (stats.isDirectory()) await walk(at).catch(error => unreadable(at, error))
    }
  }

  function allowed(path: string, stats: Stats): boolean {
    const why = wrongPath(path) ?? unfit(stats)
    if (why !== undefined) refuse({ path, code: 'unsupported', why })
    try {
      if (why === undefined) judge(path)
    } catch (error) {
      refuse(refusal(path, error))
      return false
    }
    return why === undefined
  }

  function entryOf(path: string, stats: Stats, link: string | undefined): Entry {
    const { mtimeMs } = stats
    const mode = stats.mode & 0o7777
    if (stats.isDirectory()) return { path, type: 'directory', size: 0, mtimeMs, mode }
    if (link !== undefined) return { path, type: 'symlink', size: 0, mtimeMs, mode, link }
    const id = `${stats.dev}:${stats.ino}`
    const first = stats.nlink > 1 ? firstOf.get(id) : undefined
    if (first !== undefined) return { path, type: 'link', size: 0, mtimeMs, mode, link: first }
    if (stats.nlink > 1) firstOf.set(id, path)
    return { path, type: 'file', size: stats.size, mtimeMs, mode }
  }

  /** A directory that cannot be read is left empty. */
  function unreadable(path: string, error: unknown): void {
    signal.throwIfAborted()
    if (isHopeless(error) || error === tooMany) throw error
    refuse(refusal(path, error))
  }

  await walk('')
  return entries
}

interface Found {
  readonly name: string
  readonly stats: Stats
  readonly link: string | undefined
}

async function look(
  directory: Directory,
  path: string,
  refuse: (refused: Refused) => void,
): Promise<Found[]> {
  const found: Found[] = []
  const names = await readdir(directory.entry('.'), { encoding: 'buffer' })
  for (let from = 0; from < names.length; from += atATime) {
    const some = names.slice(from, from + atATime).map(async bytes => {
      const name = bytes.toString()
      const shownPath = path === '' ? name : `${path}/${name}`
      if (!isUtf8(bytes)) {
        return refuse({ path: shownPath, code: 'unsupported', why: 'its name is not UTF-8' })
      }
      try {
        const stats = await lstat(directory.entry(name))
        const link = stats.isSymbolicLink() ? await readlink(directory.entry(name)) : undefined
        found.push({ name, stats, link })
      } catch (error) {
        if (isHopeless(error)) throw error
        refuse(refusal(shownPath, error))
      }
    })
    await Promise.all(some)
  }
  return found
    .map(each => ({ each, key: Buffer.from(each.stats.isDirectory() ? `${each.name}/` : each.name) }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .map(({ each }) => each)
}

/** Of what is no file, no directory and no link, why it stays behind. */
export function unfit(stats: Stats): string | undefined {
  if (stats.isFile() || stats.isDirectory() || stats.isSymbolicLink()) return undefined
  const kind = stats.isSocket()
    ? 'a socket'
    : stats.isFIFO()
      ? 'a named pipe'
      : stats.isBlockDevice() || stats.isCharacterDevice()
        ? 'a device'
        : 'something'
  return `it is ${kind}, which is not copied`
}

/** An entry that is left out because of this error. */
export function refusal(path: string, error: unknown): Refused {
  const { code, what, why, fix } = RelayError.from(error, path)
  return { path, code, why: fix && code === 'denied' ? `${why || what}. ${fix}` : why || what }
}

const tooMany = new RelayError('unsupported', {
  what: 'the copy',
  why: `there are more than ${mostEntries} entries`,
  fix: 'Copy a part of it at a time',
})
