import type { ProgramPolicy } from '#relay/programs/policy.ts'
import type { RelayPlan } from '#relay/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import { version } from '#wire/version.ts'

/** What the programs of a relay may have: little, and a place in the log for what they complain of. */
export function programsOf(log: Logger, { name: relay }: Pick<RelayPlan, 'name'>): ProgramPolicy {
  return {
    rights: 'confined',
    version,
    said: ({ line, program, client }) =>
      log.info({ event: 'program.said', relay, program, client, line }, 'a program wrote to stderr'),
  }
}
