import { RelayError } from '#relay/errors.ts'
import { sanitise } from '#telemetry/sanitise.ts'
import { exitCodeOf, exitCodes } from './exit-codes.ts'
import { painter } from './output/colour.ts'

/** Says on stderr what failed, why, and what to do; answers the exit code. Several failures are a line each. */
export async function report(thrown: unknown, what: string): Promise<number> {
  if (thrown instanceof AggregateError) {
    const codes: number[] = []
    for (const error of thrown.errors) codes.push(await report(error, what))
    return codes[0] ?? exitCodes.failed
  }
  const error = await translated(thrown, what)
  const name = painter(process.stderr)('fleetcat', 'red')
  const said = sentence(error)
  const named = said.startsWith('fleetcat ') ? said.slice('fleetcat'.length) : `: ${said}`
  process.stderr.write(`${name}${sanitise(named, 4_096)}\n`)
  return exitCodeOf(error.code)
}

/** Reasons that others give may end with a full stop of their own. */
const sentence = ({ message }: RelayError) => message.replace(/(?<!\.)\.\.(?= |$)/g, '.')

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
