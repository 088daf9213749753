import { constants } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { RelayError } from '../errors.ts'
import type { Directory } from '../files/place.ts'
import { parted, wrongPath } from './entry-names.ts'
import { type Ground, partialName, type ReceiveOptions } from './ground.ts'
import { openPartial } from './landing.ts'
import { type Begun, beginnings, marksOf, sumOf } from './marks.ts'
import type { Answer, Listed, Refused } from './messages.ts'
import { refusal } from './survey.ts'
import { close, codeOf, fstat, open } from './system.ts'
import { whatIs } from './target.ts'

/** What the target has of what is listed. */
export interface Inventory {
  /** Asks the file system; a refusal is told too. */
  answer(listed: Listed): Promise<Answer>
  /** The SHA-256 with which a file was said to be there. */
  there(path: string): string | undefined
  /** The beginning of a file that was said to be this long. */
  begun(path: string, offset: number): Begun | undefined
}

export function inventory(
  ground: Ground,
  { resume }: ReceiveOptions,
  refuse: (refused: Refused) => void,
  signal: AbortSignal,
): Inventory {
  const theres = new Map<string, string>()
  const beginningsOf = new Map<string, readonly Begun[]>()

  async function look(listed: Listed): Promise<Partial<Answer> & Pick<Answer, 'is'>> {
    const why = wrongPath(listed.path)
    if (why !== undefined) throw new RelayError('usage', { what: listed.path, why })
    ground.judge(listed.path)
    if (!ground.tree) return { is: 'new' }
    const { directory, name } = parted(ground.place(listed.path))
    try {
      return await ground.tree.within(directory, inside => lookIn(inside, name, listed))
    } catch (error) {
      // Its directory is new too.
      if (codeOf(error) === 'ENOENT') return { is: 'new' }
      throw error
    }
  }

  async function lookIn(directory: Directory, name: string, listed: Listed) {
    const found = await whatIs(directory.entry(name))
    if (found !== 'absent' && (found === 'directory') !== (listed.type === 'directory')) {
      const why = `${found === 'directory' ? 'a directory' : 'no directory'} has that name there`
      throw new RelayError('conflict', { what: listed.path, why })
    }
    if (found === 'other') {
      throw new RelayError('conflict', { what: listed.path, why: 'something that is no file has that name' })
    }
    const is = found === 'absent' ? 'new' : found === 'directory' ? 'there' : 'replaced'
    if (!resume || listed.type !== 'file') return { is } as const
    const sha256 = found === 'file' ? await sameThere(directory.entry(name), listed) : undefined
    if (sha256 !== undefined) {
      theres.set(listed.path, sha256)
      return { is: 'there', sha256 } as const
    }
    const begun = await partThere(directory, name, listed)
    if (begun.length > 0) beginningsOf.set(listed.path, begun)
    const isPart = ground.way === 'staged' && begun.length > 0
    return { is: isPart ? 'new' : is, marks: marksOf(begun) } as const
  }

  async function sameThere(path: string, { size, mtimeMs }: Listed): Promise<string | undefined> {
    const seen = await lstat(path)
    if (seen.size !== size || Math.abs(seen.mtimeMs - mtimeMs) >= 1) return undefined
    const fd = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      return (await sumOf(fd, size, signal)) || undefined
    } finally {
      await close(fd)
    }
  }

  async function partThere(directory: Directory, name: string, { size }: Listed): Promise<Begun[]> {
    const own = ground.way === 'staged' ? name : partialName(name)
    let fd: number
    try {
      fd = await openPartial(directory.entry(own))
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP' || codeOf(error) === 'conflict') return []
      throw error
    }
    try {
      return await beginnings(fd, Math.min(size, (await fstat(fd)).size), signal)
    } finally {
      await close(fd)
    }
  }

  return {
    async answer(listed) {
      const nothing = { sha256: '', why: '', marks: [] }
      try {
        return { ...nothing, ...(await look(listed)) }
      } catch (error) {
        if (signal.aborted) throw error
        const refused = refusal(listed.path, error)
        refuse(refused)
        return { ...nothing, is: 'refused', why: refused.why }
      }
    },
    there: path => theres.get(path),
    begun: (path, offset) => beginningsOf.get(path)?.find(each => each.offset === offset),
  }
}
