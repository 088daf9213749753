import * as fs from 'node:fs'
import { lstat, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { accountId } from '../endpoints/accounts.ts'
import { RelayError } from '../errors.ts'
import type { Uses } from './descriptor.ts'
import { creationMode, type FileOptions, openFlags } from './file-options.ts'
import { type Entry, inPlace, placeOfDescriptor } from './place.ts'
import { lockFile, seek } from './position.ts'

export interface FileRequest extends Uses {
  /** As the ceiling sees it; also the name of the file in errors. */
  readonly scope: Address
  readonly options: FileOptions
  /** May it be made now? Throws the refusal. */
  mayCreate?(): void
  /** Makes what is to be opened, if that is no regular file. Rejects with EEXIST if something is there. */
  make?(name: string, mode: number): Promise<void>
  /** Is it what the address is about? Throws the refusal. */
  check?(stats: fs.Stats): void
}

export interface OpenFile {
  /** Whoever gets it closes it. A number, for a FileHandle would close it too, behind the back of a socket. */
  readonly fd: number
  readonly stats: fs.Stats
  /** It was made by this opening. */
  readonly isNew: boolean
  /** Removes the entry, if it is still this file. */
  unlink(): Promise<void>
}

/** What is at the path is a Unix socket, which is not opened but connected to. */
export interface FoundSocket {
  readonly socket: string
}

const open = promisify(fs.open)
const close = promisify(fs.close)
const fstat = promisify(fs.fstat)
const fchown = promisify(fs.fchown)
const fchmod = promisify(fs.fchmod)
const ftruncate = promisify(fs.ftruncate)

/** How long a pipe that is only written may wait for somebody who reads it. */
const readerTimeoutMs = 10_000

/**
 * Opens what the scope names, and where the options ask for it makes it first. Nothing is made, emptied or removed
 * before the ceiling has judged the place that was really reached. Rejects with a RelayError, and then holds nothing.
 */
export async function openFile(request: FileRequest, cx: OpenContext): Promise<OpenFile | FoundSocket> {
  const { scope, options } = request
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  cx.egress.check(scope)
  try {
    const found = await inPlace(scope, cx, entry => openEntry(entry, request, cx), !options.nofollow)
    if (cx.signal.aborted && 'fd' in found) {
      await close(found.fd)
      throw RelayError.from(cx.signal.reason, scope.text)
    }
    return found
  } catch (error) {
    if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
    throw explained(error, request)
  }
}

async function openEntry(
  entry: Entry,
  request: FileRequest,
  cx: OpenContext,
): Promise<OpenFile | FoundSocket> {
  const { options, scope } = request
  if (options.unlinkEarly && entry.isOriginal) await removed(entry)
  const { fd, isNew } = await opened(entry, request, cx)
  if (fd === undefined) return { socket: entry.path }
  try {
    await verify(fd, entry, scope)
    const stats = await fstat(fd)
    if (stats.isDirectory()) {
      throw new RelayError('usage', { what: scope.text, why: 'it is a directory', fix: 'Name a file in it' })
    }
    request.check?.(stats)
    await prepare(fd, isNew, stats, request, cx)
    if (options.unlinkLate) await unlink(entry.name)
    return { fd, stats, isNew, unlink: () => unlinkAgain(scope, stats, cx) }
  } catch (error) {
    await close(fd)
    if (isNew) await removed(entry)
    throw error
  }
}

interface Opened {
  readonly fd?: number
  readonly isNew: boolean
}

/** The file as it is, or a new one; nobody else's that came up meanwhile. */
async function opened(entry: Entry, request: FileRequest, cx: OpenContext): Promise<Opened> {
  const { options } = request
  const flags = flagsOf(request)
  let isNew = false
  for (;;) {
    try {
      const mustMake = options.creat && options.excl && !isNew
      if (!mustMake) return { ...(await openPatiently(entry, flags, request, cx)), isNew }
    } catch (error) {
      if (isNew) await removed(entry)
      if (codeOf(error) !== 'ENOENT' || !options.creat) throw error
    }
    request.mayCreate?.()
    try {
      const mode = firstMode(options)
      if (!request.make) {
        return {
          fd: await open(entry.name, flags | fs.constants.O_CREAT | fs.constants.O_EXCL, mode),
          isNew: true,
        }
      }
      await request.make(entry.name, mode)
      isNew = true
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || options.excl) throw error
    }
  }
}

function flagsOf({ reads, writes, options }: FileRequest): number {
  const { O_RDONLY, O_WRONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants
  const way = reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY
  return way | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | openFlags(options)
}

/** What it shall have is set once it has its owner; until then nobody but us. */
function firstMode(options: FileOptions): number {
  const mode = creationMode(options)
  return mode === undefined ? 0o666 : mode & 0o600
}

/** Opens what is there. A pipe that is only written has to be read by somebody, who may come a little later. */
async function openPatiently(
  { name }: Entry,
  flags: number,
  { scope }: FileRequest,
  { signal }: OpenContext,
): Promise<{ readonly fd?: number }> {
  const deadline = performance.now() + readerTimeoutMs
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    try {
      return { fd: await open(name, flags) }
    } catch (error) {
      if (!['ENXIO', 'EOPNOTSUPP'].includes(codeOf(error) ?? '')) throw error
      const found = await lstat(name)
      if (found.isSocket()) return {}
      if (!found.isFIFO()) throw error
    }
    if (performance.now() > deadline) throw nobodyReads(scope)
    await sleep(pauseMs, undefined, { signal })
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof RelayError ? undefined : (error as NodeJS.ErrnoException).code
}

/** Had its directory been moved in between, it would be elsewhere by now. */
async function verify(fd: number, { path }: Entry, { text }: Address): Promise<void> {
  const place = await placeOfDescriptor(fd)
  if (place === undefined || place === path || place === `${path} (deleted)`) return
  throw new RelayError('conflict', {
    what: text,
    why: 'it was moved while it was being opened',
    fix: 'Try again',
  })
}

async function prepare(
  fd: number,
  isNew: boolean,
  stats: fs.Stats,
  { options, writes, scope }: FileRequest,
  cx: OpenContext,
): Promise<void> {
  const { user, group, permLate } = options
  if (user !== undefined || group !== undefined) {
    const uid = user === undefined ? stats.uid : await accountId('user', user, scope.text)
    const gid = group === undefined ? stats.gid : await accountId('group', group, scope.text)
    await fchown(fd, uid, gid)
  }
  const mode = permLate ?? (isNew ? creationMode(options) : undefined)
  if (mode !== undefined) await fchmod(fd, mode)
  await lockFile(fd, options, scope.text, cx)
  if (options.trunc && writes && stats.isFile()) await ftruncate(fd, 0)
  if (options.ftruncate !== undefined) await ftruncate(fd, options.ftruncate)
  await seek(fd, options, scope.text)
}

async function removed({ name }: Entry): Promise<void> {
  try {
    await unlink(name)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

/** By the same way as the first time: where that leads elsewhere by now, or to another file, nothing is removed. */
async function unlinkAgain(scope: Address, stats: fs.Stats, cx: OpenContext): Promise<void> {
  await inPlace(scope, cx, async ({ name }) => {
    const now = await lstat(name)
    if (now.isSymbolicLink()) throw Object.assign(new Error('a link'), { code: 'ELOOP' })
    if (now.ino === stats.ino && now.dev === stats.dev) await unlink(name)
  }).catch(() => {
    // It has gone already, or the directory has become another's.
  })
}

function nobodyReads({ text }: Address): RelayError {
  const why = `nobody has opened the pipe for reading within ${readerTimeoutMs / 1_000} s`
  return new RelayError('timed-out', { what: text, why, fix: 'Start its reader first' })
}

function explained(error: unknown, { scope, options }: FileRequest): RelayError {
  if (error instanceof RelayError) return error
  const what = scope.text
  const refuse = (code: 'not-found' | 'usage' | 'denied' | 'conflict', why: string, fix: string) =>
    new RelayError(code, { what, why, fix, cause: error })
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return options.creat
        ? refuse('not-found', 'a directory on the way to it does not exist', 'Make it first')
        : refuse('not-found', 'there is no such file', 'Write `creat` to make it, or correct the path')
    case 'ELOOP':
      return options.nofollow
        ? refuse(
            'denied',
            'its last part is a symbolic link',
            'Leave out `nofollow`, or name what it leads to',
          )
        : refuse('usage', 'its symbolic links lead round in a circle', 'Correct them')
    case 'EEXIST':
      return refuse('conflict', 'it exists already', 'Leave out `excl`, or choose another name')
    case 'EINVAL':
      return refuse('usage', 'the system refuses an option for a file of this kind (EINVAL)', 'Leave it out')
    case 'ESPIPE':
      return refuse('usage', 'one cannot seek in it', 'Leave out `seek`')
    default:
      return RelayError.from(error, what)
  }
}
