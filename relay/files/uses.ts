import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import type { Uses } from './descriptor.ts'

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
