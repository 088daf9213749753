import { link as hardLink, lutimes, mkdir, symlink, unlink } from 'node:fs/promises'
import type { Header } from 'tar-stream'
import { RelayError } from '../errors.ts'
import type { Directory } from '../files/place.ts'
import type { Inventory } from './answers.ts'
import { crew } from './crew.ts'
import { parted, wrongPath } from './entry-names.ts'
import {
  type Ground,
  type Offer,
  type ReceiveOptions,
  secondsOf,
  setDirectory,
  temporaryName,
} from './ground.ts'
import { type Incoming, type Landed, landLarge, landSmall, named } from './landing.ts'
import { removeLeftovers } from './leftovers.ts'
import { type Refused, type Sum, unintelligible } from './messages.ts'
import { smallBytes } from './source-file.ts'
import { refusal } from './survey.ts'
import { codeOf, isHopeless } from './system.ts'
import type { Enter } from './tar-reader.ts'
import { fromField } from './tar-writer.ts'
import { whatIs } from './target.ts'
import { wholeSum } from './whole-sum.ts'

export interface Totals {
  readonly files: number
  readonly bytes: number
  readonly kept: number
  readonly directories: number
  readonly links: number
  readonly sha256: string
}

/** Takes in the entries of a copy, of which nothing is believed. */
export interface Intake {
  readonly enter: Enter
  /** What the sender vouches for: before or after the file itself has come. */
  vouched(sums: readonly Sum[]): Promise<void>
  /**
   * All has come, and the sender says that `sha256` is that of the whole: makes the links, and sets what directories
   * shall have. Rejects when anything does not fit.
   */
  finish(sha256: string): Promise<Totals>
  /** Takes away what nobody has vouched for. */
  abandon(): Promise<void>
}

export interface IntakeOptions {
  readonly offer: Offer
  readonly ground: Ground
  readonly options: ReceiveOptions
  readonly inventory: Inventory
  refuse(refused: Refused): void
}

interface State {
  /** Its header has come. */
  began?: true
  landed?: Landed
  sum?: Sum
  refused?: true
  kept?: true
}

interface Link {
  readonly path: string
  readonly to: string
  readonly isHard: boolean
  readonly mtimeMs: number
}

/** As many files as are being written or named at a time: enough to wait for the disk, and not for each file. */
const atATime = 16
const mostEntries = 4_000_000

export function openIntake({ offer, ground, options, inventory, refuse }: IntakeOptions): Intake {
  const files = new Map<string, State>()
  /** Paths in the order of the sums, which is that of the whole. */
  const order: string[] = []
  const directories: { path: string; mode: number; mtimeMs: number }[] = []
  const links: Link[] = []
  const landing = crew(atATime)
  const confirming = crew(atATime)
  let entries = 0
  const linksMade = new Set<string>()

  const enter: Enter = async (header, body) => {
    if (++entries > mostEntries) throw unintelligible(`it sent more than ${mostEntries} entries`)
    const path = header.name.replace(/\/$/, '')
    try {
      const why = wrongPath(path) ?? unfit(header, offer)
      if (why !== undefined) throw new RelayError('usage', { what: path, why })
      ground.judge(path)
      await entered(path, header, body)
    } catch (error) {
      leaveOut(path, error)
    }
    for await (const _ of body);
  }

  async function entered(path: string, header: Header, body: AsyncIterable<Buffer>): Promise<void> {
    const { mode, linkname } = header
    const pax = (header.pax ?? {}) as Readonly<Record<string, string>>
    const mtimeMs = Number(pax.mtime ?? 0) * 1_000
    if (header.type === 'directory') return await makeDirectory(path, mode, mtimeMs)
    if (header.type !== 'file') {
      return void links.push({ path, to: linkname ?? '', isHard: header.type === 'link', mtimeMs })
    }
    const state = stateOf(path)
    if (state.began || state.kept) throw unintelligible('it sent a file twice')
    state.began = true
    const from = Number(pax[fromField] ?? 0)
    const incoming: Incoming = { path, mode, mtimeMs, size: header.size, from }
    if (from === 0 && header.size <= smallBytes) {
      const bytes = await collected(body, header.size)
      return await landing.begin(() =>
        landSmall(incoming, bytes, ground, options).then(
          landed => arrived(path, landed),
          error => leaveOut(path, error),
        ),
      )
    }
    const begun = from === 0 ? undefined : inventory.begun(path, from)
    if (from !== 0 && !begun) throw unintelligible('it left out a part of a file that nobody has')
    await arrived(path, await landLarge(incoming, body, begun, ground, options))
  }

  async function makeDirectory(path: string, mode: number, mtimeMs: number): Promise<void> {
    const { directory, name } = parted(path)
    await ground.tree!.within(directory, async ({ entry }) => {
      try {
        await mkdir(entry(name), 0o700)
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
        if ((await whatIs(entry(name))) !== 'directory') {
          throw new RelayError('conflict', { what: path, why: 'what has that name is no directory' })
        }
        if (ground.way === 'merged') return
      }
      directories.push({ path, mode, mtimeMs })
    })
  }

  /** Leaves a file or a directory out. */
  function leaveOut(path: string, error: unknown): void {
    tell(path, error)
    stateOf(path).refused = true
  }

  /** Tells of an entry that is left out, or throws what the whole copy fails with. */
  function tell(path: string, error: unknown): void {
    const failed = RelayError.from(error, path)
    if (isHopeless(error) || (error instanceof RelayError && ofTheWhole.has(error.code))) throw failed
    if (offer.kind === 'file') throw failed.within(ground.target)
    refuse(refusal(path, error))
  }

  const stateOf = (path: string): State => {
    const known = files.get(path)
    if (known) return known
    const state: State = {}
    files.set(path, state)
    return state
  }

  async function arrived(path: string, landed: Landed): Promise<void> {
    const state = stateOf(path)
    state.landed = landed
    if (state.sum) await match(path, state, landed, state.sum)
  }

  async function match(path: string, state: State, landed: Landed, sum: Sum): Promise<void> {
    if (sum.is === 'changed') {
      state.refused = true
      return await landed.discard()
    }
    if (sum.is !== 'sent' || sum.sha256 !== landed.sha256 || sum.size !== landed.size) {
      const why = `${path} has another SHA-256 here than at the sender: it was damaged on the way`
      throw new RelayError('internal', { what: 'the copy', why, fix: 'Try again' })
    }
    if (ground.way === 'staged') return
    await confirming.begin(() =>
      landed.confirm().catch(async error => {
        await landed.discard()
        leaveOut(path, error)
      }),
    )
  }

  async function vouched(sums: readonly Sum[]): Promise<void> {
    for (const sum of sums) {
      const { path } = sum
      const state = stateOf(path)
      if (state.sum) throw unintelligible('it vouched for a file twice')
      state.sum = sum
      order.push(path)
      if (sum.is === 'kept') {
        if (inventory.there(path) !== sum.sha256) throw unintelligible('it kept a file that is not there')
        state.kept = true
      } else if (state.landed) await match(path, state, state.landed, sum)
    }
  }

  async function makeLink({ path, to, isHard, mtimeMs }: Link): Promise<void> {
    const { directory, name } = parted(path)
    if (isGood(files.get(path))) {
      throw new RelayError('conflict', { what: path, why: 'a file of the copy has that name' })
    }
    await ground.tree!.within(directory, async inside => {
      const make = async (own: string) => {
        if (isHard) return await linkTo(to, own)
        await symlink(to, own)
        await lutimes(own, secondsOf(mtimeMs), secondsOf(mtimeMs))
      }
      if (ground.way === 'staged') {
        if (options.resume) await cleared(inside.entry(name))
        return await make(inside.entry(name))
      }
      const own = inside.entry(temporaryName())
      await make(own)
      try {
        await named(own, inside.entry(name))
      } finally {
        // Also after a success: nothing is renamed where both are the same file.
        await cleared(own)
      }
    })
    linksMade.add(path)
  }

  /** Only to what this copy has brought: a link to anything else would give away what is not the sender's. */
  async function linkTo(path: string, own: string): Promise<void> {
    if (!isGood(files.get(path))) {
      const why = `it is the same file as ${path}, which is not part of the copy`
      throw new RelayError('conflict', { what: path, why })
    }
    const { directory, name } = parted(ground.place(path))
    await ground.tree!.within(directory, (from: Directory) => hardLink(from.entry(name), own))
  }

  async function finish(sha256: string): Promise<Totals> {
    await landing.over()
    await confirming.over()
    const linkTos = new Map(links.flatMap(({ path, to, isHard }) => (isHard ? [[path, to] as const] : [])))
    const theirs = wholeSum(offer.kind)
    for (const path of order) {
      const { sum, landed, refused, kept } = files.get(path)!
      if (sum!.is === 'changed') continue
      theirs.add(path, sum!.sha256)
      if (landed || refused || kept) continue
      const to = linkTos.get(path)
      if (to === undefined) throw unintelligible('it vouched for a file that it did not send')
      if (files.get(to)?.sum?.sha256 !== sum!.sha256)
        throw unintelligible('a link has another sum than its file')
    }
    for (const { landed, sum } of files.values()) {
      if (landed && !sum) throw unintelligible('it sent a file that it did not vouch for')
    }
    if (theirs.digest() !== sha256) throw unintelligible('the sum of the whole is not that of its files')
    for (const link of links) {
      await makeLink(link).catch(error => tell(link.path, error))
    }
    if (ground.way === 'staged' && options.resume) {
      const others = new Set([...directories, ...links].map(({ path }) => path))
      await removeLeftovers(ground.tree!, path => others.has(path) || isGood(files.get(path)))
    }
    for (const { path, ...how } of directories.reverse()) {
      await ground.tree!.within(path, directory => setDirectory(directory, how, options.specialBits))
    }
    return totals()
  }

  function totals(): Totals {
    const whole = wholeSum(offer.kind)
    const sum = { files: 0, bytes: 0, kept: 0 }
    for (const path of order) {
      const state = files.get(path)!
      if (!isGood(state) && !linksMade.has(path)) continue
      whole.add(path, state.sum!.sha256)
      if (!isGood(state)) continue
      sum.files++
      sum.bytes += state.sum!.size
      if (state.kept) sum.kept++
    }
    if (offer.kind === 'file' && sum.files === 0) throw nothingCame(ground.target)
    return { ...sum, directories: directories.length, links: linksMade.size, sha256: whole.digest() }
  }

  return {
    enter,
    vouched,
    finish,
    async abandon() {
      await Promise.allSettled([landing.over(), confirming.over()])
      if (ground.way === 'staged') return
      for (const { landed, sum } of files.values()) {
        const isForLater = options.resume && landed && landed.size > smallBytes
        if (landed && !isForLater && sum?.is !== 'kept') await landed.discard().catch(() => {})
      }
    },
  }
}

const isGood = (state: State | undefined): state is State =>
  state !== undefined && !state.refused && (state.kept ?? (state.landed && state.sum?.is === 'sent')) === true

const known: ReadonlySet<string> = new Set(['file', 'directory', 'symlink', 'link'])

function unfit({ type }: Header, { kind }: Offer): string | undefined {
  if (!known.has(type))
    return `it is ${type ? `a ${type.replaceAll('-', ' ')}` : 'something'}, which is not copied`
  return kind === 'file' && type !== 'file' ? 'one file was to be copied, and it is none' : undefined
}

async function collected(body: AsyncIterable<Buffer>, size: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of body) pieces.push(piece)
  const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  if (bytes.length !== size) throw unintelligible('a file has ended too early')
  return bytes
}

async function cleared(path: string): Promise<void> {
  await unlink(path).catch(error => {
    if (codeOf(error) !== 'ENOENT') throw error
  })
}

/** What says that the other side does not speak as it should, or is gone. */
const ofTheWhole: ReadonlySet<string> = new Set(['internal', 'reset', 'closed'])

function nothingCame(target: string): RelayError {
  const why = 'the file was changed while it was being read'
  return new RelayError('conflict', { what: target, why, fix: 'Try again when nobody writes to it' })
}
