import { resolve } from 'node:path'
import { type Address, formatAddress, type Option } from '../address.ts'
import { RelayError } from '../errors.ts'

/** What a Unix socket is called: an entry of the file system, or a name that only the kernel keeps. */
export interface SocketName {
  readonly is: 'path' | 'abstract'
  /** An absolute path; or the name, without the NUL that the kernel puts in front of it. */
  readonly text: string
}

/** The kernel keeps names of 108 bytes, one of which is the NUL at an end. */
export const longestName = 107

/** `/run/app.sock`; abstract names as `ss` writes them: `@app`. */
export function shownName({ is, text }: SocketName): string {
  return is === 'path' ? text : `@${text}`
}

/** The one argument of a Unix address. Throws a RelayError `usage`. */
export function readName(address: Address, is: SocketName['is'], syntax: string): SocketName {
  const refuse = (why: string, fix: string) => {
    return new RelayError('usage', { what: `address \`${address.text}\``, why, fix })
  }
  const [written = ''] = address.args
  if (address.args.length === 1 && written === '') throw refuse('the name is missing', `Write \`${syntax}\``)
  if (address.args.length !== 1) {
    const fix = `Write \`${syntax}\`, and a colon that belongs to it as \`\\:\``
    throw refuse(`it has ${address.args.length} arguments instead of 1`, fix)
  }
  if (is === 'path' && address.host !== undefined && !written.startsWith('/')) {
    throw refuse('a path on another host has no directory to start from', 'Write the whole path, from `/`')
  }
  const text = is === 'path' ? resolve(written) : written
  const bytes = Buffer.byteLength(text)
  if (bytes > longestName) {
    const why = `the kernel takes names of Unix sockets up to ${longestName} bytes, and this has ${bytes}`
    throw refuse(why, 'Choose a shorter one')
  }
  return { is, text }
}

/** The address as the ceiling sees it. */
export function scopeOf(
  address: Address,
  keyword: string,
  name: SocketName,
  options: readonly Option[] = [],
): Address {
  const at = address.host === undefined ? {} : { host: address.host }
  const args = [name.text]
  return { keyword, args, options, ...at, text: formatAddress({ keyword, args, options }) }
}

/** Only Linux has abstract names. Throws a RelayError `unsupported`. */
export function checkPlatform({ is }: SocketName, what: string): void {
  if (is === 'path' || process.platform === 'linux') return
  throw new RelayError('unsupported', {
    what,
    why: 'only Linux has abstract Unix sockets',
    fix: 'Write UNIX-CONNECT or UNIX-LISTEN with a path',
  })
}
