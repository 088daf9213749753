import { constants } from 'node:fs'
import { link, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { RelayError } from '../errors.ts'
import type { Libc } from '../native/libc.ts'
import { fileUsers } from './as-file.ts'
import type { LineCounters } from './port.ts'
import { type PortUser, portUsers, programOf, userText } from './port-users.ts'

/** A port that this process has open, or is about to open or to close. */
export interface HeldPort {
  readonly path: string
  /** Who has it, for the error of whoever wants it too: `relay lab`. */
  readonly holder: string
  /** What the device has counted of errors; undefined: nothing. Absent while it is being opened. */
  readonly counters?: (() => Promise<LineCounters | undefined>) | undefined
}

interface Holding extends HeldPort {
  leaving: boolean
  counters?: HeldPort['counters']
  readonly gone: PromiseWithResolvers<void>
}

/** A place in the table of the ports that this process has. Disposal gives it back. */
export interface Hold extends Disposable {
  /** It will soon be given back: who comes now may wait for it. */
  leaving(): void
  /** It is open, and can be asked. */
  opened(counters: NonNullable<HeldPort['counters']>): void
}

/** How long somebody who is about to leave is waited for. */
const leavingMs = 3_000

/** By the device's `rdev`: it has many names. */
const held = new Map<number, Holding>()

/** Who of this process has this device, if anybody. */
export function heldPort(rdev: number): HeldPort | undefined {
  return held.get(rdev)
}

/** Resolves when whoever of this process has the device has given it back; undefined if nobody has it. */
export function released(rdev: number): Promise<void> | undefined {
  return held.get(rdev)?.gone.promise
}

/**
 * Asked before a device is opened: an open that fails for a lock has already changed the settings of whoever holds it.
 * Waits for somebody who is about to leave. Rejects with a RelayError `conflict`.
 */
export async function holdPort(
  rdev: number,
  port: HeldPort,
  what: string,
  signal: AbortSignal,
): Promise<Hold> {
  const deadline = performance.now() + leavingMs
  for (let other = held.get(rdev); other; other = held.get(rdev)) {
    const leftMs = deadline - performance.now()
    if (!other.leaving || leftMs <= 0) throw inUse(what, holderOf(other, port.path))
    await Promise.race([other.gone.promise, sleep(leftMs, undefined, { signal, ref: false }).catch(() => {})])
    if (signal.aborted) throw RelayError.from(signal.reason, what)
  }
  const [file] = fileUsers(rdev)
  if (file) throw inUse(what, holderOf(file, port.path))
  const holding: Holding = {
    path: port.path,
    // Of a shared one it changes.
    get holder() {
      return port.holder
    },
    leaving: false,
    gone: Promise.withResolvers(),
  }
  held.set(rdev, holding)
  return {
    leaving() {
      holding.leaving = true
    },
    opened(counters) {
      holding.counters = counters
    },
    [Symbol.dispose]() {
      held.delete(rdev)
      holding.gone.resolve()
    },
  }
}

/** Where UUCP, and all modem and terminal programs after it, have their lock files. */
export const lockDirectory = '/var/lock'

/**
 * The lock file that other programs look for: `/var/lock/LCK..ttyUSB0` with the number of this process. One of a process
 * that is no more is replaced. Where no file can be made there, as on hosts without that directory, nothing is held: the
 * other locks are as good among those that ask. Rejects with a RelayError `conflict` when somebody has the port.
 */
export async function holdLockFile(
  path: string,
  what: string,
  directory = lockDirectory,
): Promise<AsyncDisposable> {
  const name = join(directory, `LCK..${path.replace(/^\/dev\//, '').replaceAll('/', '_')}`)
  // Written first and named second, so that nobody ever reads half of it.
  const fresh = join(directory, `LTMP..fleetcat.${process.pid}.${name.length}.${counter++}`)
  try {
    await using file = await open(fresh, 'wx', 0o644)
    await file.writeFile(ours)
  } catch {
    return none
  }
  try {
    for (let tries = 0; ; tries++) {
      try {
        await link(fresh, name)
        return { [Symbol.asyncDispose]: () => removeOurs(name) }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
          throw RelayError.from(error, `${what}: ${name}`)
      }
      const owner = await ownerOf(name)
      if (owner || tries === mostTries)
        throw inUse(what, owner ? userText(owner) : 'somebody', `, as ${name} says`)
      try {
        await unlink(name)
      } catch (error) {
        // It is another user's, who has left it behind: all that ask will see that nobody has the port.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return none
      }
    }
  } finally {
    await unlink(fresh).catch(() => {})
  }
}

const none: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} }
const mostTries = 5
const ours = `${String(process.pid).padStart(10)}\n`
let counter = 0

/** Undefined where nobody has it any more. A file of our own number is from a process that had it before us. */
async function ownerOf(name: string): Promise<PortUser | undefined> {
  const bytes = await beginningOf(name).catch(() => undefined)
  if (!bytes) return undefined
  const text = bytes.toString('latin1')
  // Old programs write the number as it is in memory.
  const pid = bytes.length === 4 && !/^[\s\d]+$/.test(text) ? bytes.readInt32LE() : Number.parseInt(text, 10)
  if (!(pid > 0) || pid === process.pid || !(await isAlive(pid))) return undefined
  return { pid, program: await programOf(pid) }
}

/** On many hosts anybody may put anything there: a link, or a pipe that nobody ever writes to. */
async function beginningOf(name: string): Promise<Buffer | undefined> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  await using file = await open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  if (!(await file.stat()).isFile()) return undefined
  const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0)
  return buffer.subarray(0, bytesRead)
}

async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  // One that has ended and that nobody has asked how still has its number, and nothing else any more.
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
}

async function removeOurs(name: string): Promise<void> {
  const text = await beginningOf(name).catch(() => undefined)
  if (text?.toString('latin1') === ours) await unlink(name).catch(() => {})
}

const LOCK_EX_NB = 6

/** Held for as long as `fd` is open. Rejects with a RelayError `conflict` that says who has it. */
export async function flockPort(libc: Libc, fd: number, rdev: number, what: string): Promise<void> {
  try {
    libc.flock(fd, LOCK_EX_NB)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw RelayError.from(error, what)
    throw inUse(what, await usersText(rdev))
  }
}

/** Who else has the device open, as words. */
export async function usersText(rdev: number): Promise<string> {
  const users = (await portUsers(new Set([rdev]))).get(rdev)
  return users ? users.map(userText).join(', ') : 'another program, which this process may not see'
}

/** Who has it, and by which name if it is not the one by which it was asked for. */
export const holderOf = ({ holder, path }: HeldPort, asked: string): string =>
  path === asked ? holder : `${holder}, as ${path}`

export function inUse(what: string, by: string, source = ''): RelayError {
  return new RelayError('conflict', {
    what,
    why: `the port is in use by ${by}${source}`,
    fix: 'Stop or revoke that first, share the port, or wait in line for it (`--wait 10m`, `wait=10m` in an address)',
  })
}
