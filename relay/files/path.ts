import { resolve } from 'node:path'
import type { Address } from '../address.ts'
import { RelayError } from '../errors.ts'

/** The one argument of an address of a file, as a whole path. Throws a RelayError `usage`. */
export function readPath(address: Address, syntax: string): string {
  const refuse = (why: string, fix: string) =>
    new RelayError('usage', { what: `address \`${address.text}\``, why, fix })
  const [path = ''] = address.args
  if (address.args.length === 1 && path === '') throw refuse('the path is missing', `Write \`${syntax}\``)
  if (address.args.length !== 1) {
    const fix = `Write \`${syntax}\`, and a colon that belongs to it as \`\\:\``
    throw refuse(`it has ${address.args.length} arguments instead of 1`, fix)
  }
  if (address.host !== undefined && !path.startsWith('/')) {
    throw refuse('a path on another host has no directory to start from', 'Write the whole path, from `/`')
  }
  return resolve(path)
}
