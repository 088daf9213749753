import { ownEgress } from '#relay/egress.ts'
import { RelayError } from '#relay/errors.ts'
import { holdLock, lockScope } from '#relay/layers/lock-file.ts'
import { usage } from '../failure.ts'

/** The lock file of `-L` or `-W`. Throws when `-L` finds that somebody else has it. */
export async function lockOf(
  { path, wait }: { readonly path: string; readonly wait: boolean },
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  try {
    return await holdLock(lockScope(path), wait ? 'wait' : 'try', 'socat', { egress: ownEgress, signal })
  } catch (error) {
    if (!(error instanceof RelayError) || error.code !== 'conflict') throw error
    throw usage(`could not obtain lock "${path}"`, error.why, 'If nobody holds it, remove the file')
  }
}
