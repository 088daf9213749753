import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { IdentityError } from './errors.ts'

/** What others may not be able to do. */
export interface Demand {
  /** Bits that the mode must not have: 0o077 for a secret, 0o022 for what is only to be believed. */
  readonly mode: number
  /** What it means when it has them. */
  readonly why: string
  /** The mode to give it, in the words of chmod. */
  readonly chmod: string
}

/** Throws `untrusted` for what is neither ours nor root's, and for what others may do more with than is demanded. */
export function requireOwn(
  path: string,
  { uid, mode }: Pick<Stats, 'uid' | 'mode'>,
  { mode: bits, why, chmod }: Demand,
): void {
  const what = `${path} refused`
  // Where there are no user ids there are no modes to speak of either.
  const own = process.geteuid?.()
  if (own === undefined) return
  if (uid !== own && uid !== 0) {
    throw new IdentityError('untrusted', {
      what,
      why: `it belongs to another user (uid ${uid}, and this program runs as uid ${own})`,
      fix: `Run it as that user, or: chown ${own} ${quoted(path)}`,
    })
  }
  if ((mode & bits) === 0) return
  throw new IdentityError('untrusted', {
    what,
    why: `${why} (its mode is ${octal(mode)})`,
    fix: `Run: chmod ${chmod} ${quoted(path)}`,
  })
}

/** Whoever may write to a directory may replace what is in it, whatever the modes of the files are. */
export async function requireOwnDirectory(directory: string): Promise<void> {
  const why = 'others can replace the private files in it'
  requireOwn(directory, await stat(directory), { mode: 0o022, why, chmod: '700' })
}

const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0')
const quoted = (path: string): string =>
  /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
