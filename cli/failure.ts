import { RelayError } from '#relay/errors.ts'
import { sanitise } from '#telemetry/sanitise.ts'
import { exitCodeOf } from './exit-codes.ts'
import { painter } from './output/colour.ts'

/** Says on stderr what failed, why, and what to do; answers the exit code. */
export async function report(thrown: unknown, what: string): Promise<number> {
  const error = await translated(thrown, what)
  const paint = painter(process.stderr)
  process.stderr.write(`${paint('fleetcat:', 'red')} ${sanitise(error.message, 4_096)}\n`)
  return exitCodeOf(error.code)
}

/** Something that a person should know and a script need not. */
export function note(text: string): void {
  process.stderr.write(`${sanitise(text, 4_096)}\n`)
}

export const usage = (what: string, why: string, fix?: string): RelayError =>
  new RelayError('usage', { what, why, fix })

/** What translates the errors of others brings gRPC along, and a typing mistake should not wait for that. */
async function translated(thrown: unknown, what: string): Promise<RelayError> {
  if (thrown instanceof RelayError) return thrown
  const { failureOf } = await import('#wire/failure.ts')
  return failureOf(thrown, what)
}
