import type { Stats } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { type Directory, inPlace, openDirectory } from '../files/place.ts'
import { codeOf } from './system.ts'

export type Found = 'absent' | 'file' | 'directory' | 'link' | 'other'

/** Where a copy is to go: a name in a directory that is held open. */
export interface Target extends AsyncDisposable {
  readonly scope: Address
  readonly parent: Directory
  readonly name: string
  /** Its path as it was written, and where it really is. */
  readonly named: string
  readonly real: string
  readonly found: Found
}

/** Finds out what is there; makes nothing. Rejects with a RelayError, and then holds nothing. */
export async function openTarget(scope: Address, cx: OpenContext): Promise<Target> {
  try {
    return await inPlace(scope, cx, async entry => {
      const found = await whatIs(entry.name)
      if (found === 'link') throw Object.assign(new Error('a link'), { code: 'ELOOP' })
      const parent = await openDirectory(dirname(entry.name))
      const name = entry.name.slice(dirname(entry.name).length + 1)
      const place = { scope, parent, name, named: scope.args[0]!, real: entry.path, found }
      return { ...place, [Symbol.asyncDispose]: () => parent[Symbol.asyncDispose]() }
    })
  } catch (error) {
    throw explained(error, scope)
  }
}

/** What has this name; the system is asked by `path`. */
export async function whatIs(path: string): Promise<Found> {
  try {
    return kindOf(await lstat(path))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'absent'
    throw error
  }
}

function kindOf(stats: Stats): Found {
  if (stats.isFile()) return 'file'
  if (stats.isDirectory()) return 'directory'
  return stats.isSymbolicLink() ? 'link' : 'other'
}

function explained(error: unknown, { text }: Address): RelayError {
  if (codeOf(error) !== 'ENOENT') return RelayError.from(error, text)
  const why = 'the directory that it would be in does not exist'
  return new RelayError('not-found', { what: text, why, fix: 'Make it first', cause: error })
}
