import { type Stats, statSync } from 'node:fs'
import { isatty } from 'node:tty'
import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { accountOf, groupOf } from '../endpoints/accounts.ts'
import { nearlyFullAt } from '../endpoints/sockets.ts'
import { RelayError } from '../errors.ts'
import { openFile } from '../files/open-file.ts'
import { inUse, usersText } from './locks.ts'
import { findPorts } from './ports.ts'

/** The device at a path, before anything is opened: some do something when they are. Rejects with a RelayError. */
export async function findDevice(path: string, what: string): Promise<Stats> {
  let stats: Stats
  try {
    stats = statSync(path)
  } catch (error) {
    throw await explained(error, path, what)
  }
  if (!stats.isCharacterDevice()) throw noPort(what)
  return stats
}

/**
 * The device itself, opened where the ceiling was asked about it, and closed by whoever gets it. Its settings are not
 * touched. Rejects with a RelayError.
 */
export async function openDevice(
  scope: Address,
  what: string,
  cx: OpenContext,
): Promise<{ readonly fd: number; readonly rdev: number }> {
  try {
    const check = (stats: Stats) => {
      if (!stats.isCharacterDevice()) throw noPort(what)
    }
    const request = { scope, options: {}, reads: true, writes: true, check }
    const found = await openFile(request, cx)
    if ('socket' in found) throw noPort(what)
    return { fd: found.fd, rdev: found.stats.rdev }
  } catch (error) {
    throw await explained(error, scope.args[0]!, what)
  }
}

/** Throws a RelayError for a descriptor that is of no use as a port. */
export function checkDevice(fd: number, what: string): void {
  if (!isatty(fd)) throw noPort(what)
  if (!nearlyFullAt(fd, 'all')) return
  const why = 'this process has hardly any free file descriptors left'
  throw new RelayError('exhausted', { what, why, fix: 'Raise `ulimit -n`' })
}

function noPort(what: string): RelayError {
  const fix =
    '`fleetcat addresses SERIAL` shows how ports are written; write OPEN for other devices and files'
  return new RelayError('usage', { what, why: 'it is no serial port', fix })
}

async function explained(error: unknown, path: string, what: string): Promise<RelayError> {
  const cause = error instanceof RelayError ? error.cause : error
  const refuse = (code: ConstructorParameters<typeof RelayError>[0], why: string, fix: string) =>
    new RelayError(code, { what, why, fix, cause: error })
  switch ((cause as NodeJS.ErrnoException | undefined)?.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return refuse('not-found', 'this host has no such port', await portsText())
    case 'EACCES':
    case 'EPERM':
      return refuse('denied', 'the operating system denies access to it', accessText(path))
    case 'EBUSY':
      return inUse(what, await usersText(statSync(path, { throwIfNoEntry: false })?.rdev ?? 0))
    case 'ENXIO':
    case 'ENODEV':
    case 'EIO':
      return refuse('not-found', 'the name is there, but no device is behind it', await portsText())
    default:
      return RelayError.from(error, what)
  }
}

const mostNamed = 5

async function portsText(): Promise<string> {
  const ports = await findPorts()
  if (ports.length === 0) return 'This host has no serial ports at all. Plug it in, or look at `dmesg`'
  const names = ports.slice(0, mostNamed).map(({ path }) => path)
  return `It has ${names.join(', ')}${ports.length > mostNamed ? ` and ${ports.length - mostNamed} more` : ''}`
}

/** Which group may open it: on most hosts all ports belong to one. */
function accessText(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false })
  const group = stats && (stats.mode & 0o060) === 0o060 ? groupOf(String(stats.gid))?.name : undefined
  const user = accountOf(String(process.getuid?.() ?? ''))?.name ?? 'USER'
  if (group === undefined) return 'Let this user read and write it'
  return `Its group may: \`usermod -aG ${group} ${user}\`, and start this process again`
}
