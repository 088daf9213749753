import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, lstat, mkdir, rename, rm, utimes } from 'node:fs/promises'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { type Directory, openDirectory } from '../files/place.ts'
import { ownPrefix, wrongName } from './entry-names.ts'
import { type Judge, judge, making } from './judge.ts'
import type { Kind } from './messages.ts'
import { close, codeOf, fsync, open } from './system.ts'
import { type Found, type Target, whatIs } from './target.ts'
import { openTree, type Tree } from './tree.ts'

/** How a copy is taken in. */
export interface ReceiveOptions {
  /** The target is the copy itself, also where a directory has its name already. */
  readonly exact?: boolean | undefined
  /** What is complete stays as it is, and what has come when a copy breaks off is kept for the next. */
  readonly resume?: boolean | undefined
  readonly dryRun?: boolean | undefined
  readonly specialBits?: boolean | undefined
}

export interface Offer {
  readonly kind: Kind
  readonly name: string
  readonly mode: number
  readonly mtimeMs: number
}

/**
 * Where the entries of a copy land. `staged`: in a directory beside the target, which gets its name when all are there.
 * `merged`: where they belong, each under a name of ours until it is complete.
 */
export interface Ground extends AsyncDisposable {
  readonly way: 'staged' | 'merged'
  /** The path that the copy has in the end. */
  readonly target: string
  /** Absent in a dry run if nothing is there yet. */
  readonly tree: Tree | undefined
  readonly judge: Judge
  /** Where an entry belongs in the tree; `path` is as the sender says it. */
  place(path: string): string
  /** Gives it its name: from now on it is there. Without this, disposal takes away what is not for another time. */
  settle(): Promise<void>
}

/** Throws or rejects with a RelayError when the copy cannot go there. */
export async function openGround(
  target: Target,
  offer: Offer,
  options: ReceiveOptions,
  cx: Pick<OpenContext, 'egress'>,
): Promise<Ground> {
  const spot = await spotFor(target, offer, options)
  try {
    const { named, real, name } = spot
    const judged = judge({ scope: target.scope, named, real, asOpen: making }, cx)
    judged('')
    checkKind(spot, offer)
    const plain = { target: named, judge: judged, way: 'merged', place: (path: string) => path } as const
    if (offer.kind === 'file') {
      const tree = openTree(spot.parent)
      // The directory is not the copy: what the sender calls its file makes no difference to where it goes.
      return { ...plain, judge: () => judged(''), tree, place: () => name, ...undone(tree, spot) }
    }
    if (spot.found === 'directory') {
      const tree = openTree(await openDirectory(spot.parent.entry(name), { follow: false }))
      return { ...plain, tree, ...undone(tree, spot) }
    }
    if (options.dryRun) {
      return {
        ...plain,
        tree: undefined,
        settle: async () => {},
        [Symbol.asyncDispose]: () => spot.release(),
      }
    }
    return { ...plain, way: 'staged', ...(await stage(spot, offer, options)) }
  } catch (error) {
    await spot.release()
    throw RelayError.from(error, spot.named)
  }
}

interface Spot {
  readonly parent: Directory
  readonly name: string
  readonly named: string
  readonly real: string
  readonly found: Found
  release(): Promise<void>
}

/** As `cp -r` has it: into the directory, if there is one. */
async function spotFor(target: Target, { name }: Offer, { exact }: ReceiveOptions): Promise<Spot> {
  if (target.found !== 'directory' || exact) {
    const parent = await openDirectory(target.parent.entry('.'))
    return { ...target, parent, release: async () => await parent[Symbol.asyncDispose]() }
  }
  const wrong = wrongName(name)
  if (wrong !== undefined) {
    const fix = 'Write which name the copy shall have, and say that it is exact'
    throw new RelayError('usage', { what: `a copy into ${target.named}`, why: wrong, fix })
  }
  const parent = await openDirectory(target.parent.entry(target.name), { follow: false })
  const at = (directory: string) => `${directory === '/' ? '' : directory}/${name}`
  try {
    return {
      parent,
      name,
      named: at(target.named),
      real: at(parent.path),
      found: await whatIs(parent.entry(name)),
      release: async () => await parent[Symbol.asyncDispose](),
    }
  } catch (error) {
    await parent[Symbol.asyncDispose]()
    throw RelayError.from(error, target.named)
  }
}

const words: Record<Exclude<Found, 'absent'>, string> = {
  file: 'a file',
  directory: 'a directory',
  link: 'a symbolic link',
  other: 'something that is neither a file nor a directory',
}

function checkKind({ found, named }: Spot, { kind }: Offer): void {
  const fits = kind === 'file' ? ['absent', 'file', 'link'] : ['absent', 'directory']
  if (found === 'absent' || fits.includes(found)) return
  const why = `${words[found]} has that name, and a ${kind} is to be copied there`
  throw new RelayError('conflict', { what: named, why, fix: 'Choose another name, or remove it first' })
}

/** What is in place already needs no settling; each file has got its name by itself. */
function undone(tree: Tree, spot: Spot): Pick<Ground, 'settle'> & AsyncDisposable {
  return {
    settle: () => synced(spot.parent),
    async [Symbol.asyncDispose]() {
      await tree[Symbol.asyncDispose]()
      await spot.release()
    },
  }
}

async function stage(
  { parent, name, named, release }: Spot,
  offer: Offer,
  { resume, specialBits }: ReceiveOptions,
): Promise<Pick<Ground, 'tree' | 'settle'> & AsyncDisposable> {
  const own = resume ? partialName(name) : temporaryName()
  await makeOwn(parent.entry(own), resume)
  const root = await openDirectory(parent.entry(own), { follow: false })
  const tree = openTree(root)
  let isSettled = false
  return {
    tree,
    async settle() {
      await setDirectory(root, offer, specialBits)
      await rename(parent.entry(own), parent.entry(name)).catch(error => {
        if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(codeOf(error) ?? '')) throw error
        const why = 'something has got that name in the meantime'
        throw new RelayError('conflict', { what: named, why, fix: 'Try again', cause: error })
      })
      isSettled = true
      await synced(parent)
    },
    async [Symbol.asyncDispose]() {
      await tree[Symbol.asyncDispose]()
      if (!isSettled && !resume) await rm(parent.entry(own), { recursive: true, force: true })
      await release()
    },
  }
}

/** Nobody but us looks into it before it is complete. */
async function makeOwn(path: string, mayExist = false): Promise<void> {
  try {
    await mkdir(path, 0o700)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || !mayExist) throw error
    const stats = await lstat(path)
    if (stats.isDirectory() && isOurs(stats.uid)) return
    const why = 'what is left of an earlier copy is not ours'
    throw new RelayError('conflict', { what: path, why, fix: 'Remove it', cause: error })
  }
}

export const isOurs = (uid: number): boolean => uid === (process.geteuid?.() ?? uid)

export const temporaryName = (): string => `${ownPrefix}${randomBytes(8).toString('hex')}`

/** The same the next time. However long the name is, this is not too long. */
export function partialName(name: string): string {
  return `${ownPrefix}partial-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`
}

/** The mode that an entry gets: what would let it act as its owner is left out unless it is asked for. */
export const modeOf = (mode: number, specialBits = false): number => mode & (specialBits ? 0o7777 : 0o777)

export async function setDirectory(
  directory: Directory,
  { mode, mtimeMs }: Pick<Offer, 'mode' | 'mtimeMs'>,
  specialBits?: boolean,
): Promise<void> {
  await chmod(directory.entry('.'), modeOf(mode, specialBits))
  await utimes(directory.entry('.'), secondsOf(mtimeMs), secondsOf(mtimeMs))
}

/** What every file system can keep of a time that somebody else says. */
export const secondsOf = (mtimeMs: number): number =>
  Math.min(Math.max((Number.isFinite(mtimeMs) ? mtimeMs : 0) / 1_000, 0), 0x3_7fff_ffff)

/** The names in a directory are on the disk. One that we may not read is as safe as the system makes it. */
async function synced(directory: Directory): Promise<void> {
  try {
    const fd = await open(directory.entry('.'), constants.O_RDONLY | constants.O_DIRECTORY)
    await fsync(fd).finally(() => close(fd))
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EINVAL'].includes(codeOf(error) ?? '')) throw error
  }
}
