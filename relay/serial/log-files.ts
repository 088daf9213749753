import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { type Address, formatAddress } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { inPlace } from '../files/place.ts'
import { defaultKeep, type LogSettings } from './line-log.ts'

/** A file of a log that is open for reading. Whoever has it disposes it. */
export interface LogFile extends AsyncDisposable {
  readonly handle: FileHandle
  readonly ino: number
}

/** What begins where in the files of a log. */
export interface Beginning {
  readonly file: LogFile
  readonly at: number
}

/** The files of a log from the oldest to the one that is written, also while they are renamed. */
export interface LogFiles {
  /**
   * Where to begin for all that was written since a time (in milliseconds), and for the last so many bytes: whichever is
   * less. Undefined: there is nothing yet.
   */
  beginning(since: number | undefined, lastBytes: number | undefined): Promise<Beginning | undefined>
  /** The one that was begun after this one, if there is any: of an old one, which is complete then. */
  after(file: LogFile): Promise<LogFile | undefined>
}

/** The log as the ceiling sees it when somebody reads it. A permit for it is one for those that it was renamed to. */
export function logScope(path: string): Address {
  const scope = { keyword: 'OPEN', args: [path], options: [{ name: 'rdonly', at: 0 }] }
  return { ...scope, text: formatAddress(scope) }
}

interface Found {
  readonly name: string
  /** What its name has more than that of the newest. */
  readonly suffix: string
  readonly stats: Stats
}

/** It was renamed between two looks at it. */
const tries = 20
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Opens nothing yet. Throws a RelayError where the ceiling does not let it be read, and so does what it answers. */
export function logFiles(
  { path, keep = defaultKeep }: LogSettings,
  { egress }: Pick<OpenContext, 'egress'>,
): LogFiles {
  const scope = logScope(path)
  egress.check(scope)
  for (let n = 1; n <= keep; n++) egress.checkForbidden?.(logScope(`${path}.${n}`))

  /** The newest first, up to this one. */
  const list = async (name: string, last?: number): Promise<Found[]> => {
    const found: Found[] = []
    let gaps = 0
    for (let n = 0; n <= keep && gaps < 2; n++) {
      const suffix = n === 0 ? '' : `.${n}`
      const file = name + suffix
      const stats = await lstat(file).catch(() => undefined)
      // It is followed by whoever asks, if the ceiling agrees to where it leads.
      if (n === 0 && stats?.isSymbolicLink()) throw Object.assign(new Error(file), { code: 'ELOOP' })
      // While they are renamed, one after the other, there is always one missing.
      gaps = stats?.isFile() ? 0 : gaps + 1
      if (stats?.isFile()) found.push({ name: file, suffix, stats })
      if (last !== undefined && stats?.ino === last) break
    }
    return found
  }
  /** Opens what `choose` takes of the files, or answers undefined where it takes none. */
  const openOne = (
    choose: (found: readonly Found[]) => Found | undefined,
    last?: number,
  ): Promise<LogFile | undefined> =>
    inPlace(scope, { egress }, async ({ name, path: real }) => {
      for (let n = 0; n < tries; n++) {
        egress.check(scope)
        const chosen = choose(await list(name, last))
        if (!chosen) return undefined
        // A link may have led here, and this one may have another right than the newest.
        egress.checkForbidden?.(logScope(real + chosen.suffix))
        const handle = await open(chosen.name, flags).catch(() => undefined)
        const { ino } = (await handle?.stat()) ?? {}
        if (handle && ino === chosen.stats.ino) {
          return { handle, ino, [Symbol.asyncDispose]: () => handle.close() }
        }
        await handle?.close()
      }
      throw new RelayError('conflict', {
        what: scope.text,
        why: 'it is renamed all the time',
        fix: 'Try again',
      })
    }).catch(thrown => {
      throw RelayError.from(thrown, scope.text)
    })

  return {
    async beginning(since, lastBytes) {
      let at = 0
      const file = await openOne(found => {
        let left = lastBytes ?? Number.POSITIVE_INFINITY
        let first: Found | undefined
        for (const each of found) {
          if (first && (left <= 0 || (since !== undefined && each.stats.mtimeMs < since))) break
          first = each
          at = Math.max(0, each.stats.size - left)
          left -= each.stats.size
        }
        return first
      })
      return file && { file, at }
    },
    after: ({ ino }) =>
      openOne(found => {
        const place = found.findIndex(({ stats }) => stats.ino === ino)
        // The oldest that there is, where this one has been removed since.
        return place < 0 ? found.at(-1) : found[place - 1]
      }, ino),
  }
}
