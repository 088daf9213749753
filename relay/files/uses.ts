import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { wrongAddress } from '../endpoints/ip-parts.ts'
import { RelayError } from '../errors.ts'
import type { Uses } from './descriptor.ts'
import type { FileOptions } from './file-options.ts'

/** Of what an address allows, that which the relay needs. Throws a RelayError `usage` where nothing is left. */
export function narrowed(has: Uses, { uses }: Pick<OpenContext, 'uses'>, what: string): Uses {
  const reads = has.reads && uses !== 'write'
  const writes = has.writes && uses !== 'read'
  if (reads || writes) return { reads, writes }
  const why =
    uses === 'write'
      ? 'it can only be read, and here it is only written'
      : 'it can only be written, and here it is only read'
  throw new RelayError('usage', { what, why, fix: 'Exchange the two addresses, or choose another kind' })
}

type Ways = Pick<FileOptions, 'rdonly' | 'wronly' | 'rdwr'>

/** What the options of an address allow. */
export function usesOf({ rdonly, wronly }: Ways): Uses {
  return { reads: !wronly, writes: !rdonly }
}

/** Throws a RelayError `usage` when they contradict each other. */
export function checkWays(address: Address, { rdonly, wronly, rdwr }: Ways): void {
  const ways = [rdonly && 'rdonly', wronly && 'wronly', rdwr && 'rdwr'].filter(Boolean)
  if (ways.length > 1) throw wrongAddress(address, `it has ${ways.join(' and ')}`, 'Keep one of them')
}
