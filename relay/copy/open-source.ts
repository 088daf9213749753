import { constants } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { type Entry, inPlace, openDirectory } from '../files/place.ts'
import { judge, reading } from './judge.ts'
import type { Source } from './sender.ts'
import { unfit } from './survey.ts'
import { close, codeOf, open } from './system.ts'
import { openTree } from './tree.ts'

export type OpenSource = Source & AsyncDisposable

/**
 * Opens what the scope names for being copied, a file or a directory; of a link, what it leads to. Rejects with a
 * RelayError, and then holds nothing.
 */
export async function openSource(scope: Address, cx: OpenContext): Promise<OpenSource> {
  try {
    return await inPlace(scope, cx, entry => openEntry(entry, scope, cx))
  } catch (error) {
    throw RelayError.from(error, scope.text)
  }
}

async function openEntry(
  { name: path, path: real }: Entry,
  scope: Address,
  cx: OpenContext,
): Promise<OpenSource> {
  const stats = await lstat(path)
  if (stats.isSymbolicLink()) throw Object.assign(new Error('a link'), { code: 'ELOOP' })
  const why = unfit(stats)
  if (why !== undefined) {
    throw new RelayError('usage', { what: scope.text, why, fix: 'Name a file or a directory' })
  }
  const named = scope.args[0]!
  const name = basename(named)
  const judged = judge({ scope, named, real, asOpen: reading }, cx)
  judged('')
  const about = { name, mode: stats.mode & 0o7777, mtimeMs: stats.mtimeMs, judge: judged }
  if (stats.isDirectory()) {
    const root = await openDirectory(path, { follow: false })
    const tree = openTree(root)
    return { ...about, kind: 'directory', tree, [Symbol.asyncDispose]: () => tree[Symbol.asyncDispose]() }
  }
  await checkReadable(path)
  const tree = openTree(await openDirectory(dirname(path)))
  const { mode, mtimeMs } = about
  const only = { path: name, type: 'file', size: stats.size, mode, mtimeMs, at: basename(real) } as const
  return { ...about, kind: 'file', tree, only, [Symbol.asyncDispose]: () => tree[Symbol.asyncDispose]() }
}

/** Better now than when the other side has begun. */
async function checkReadable(path: string): Promise<void> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants
  try {
    await close(await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY))
  } catch (error) {
    // It has become a link in between, which is not followed any more.
    if (codeOf(error) !== 'ELOOP') throw error
    throw new RelayError('conflict', { what: path, why: 'it was changed while it was being opened' })
  }
}
