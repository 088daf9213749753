import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import { type Relay, type RelayReport, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { featuresOf } from '#wire/features.ts'
import { toProblem } from '#wire/problem.ts'
import type { Host } from './hosts.ts'
import { toDesired } from './placement.ts'

/** Does an agent that knows these features understand all that is said of this relay? */
export function understands(features: readonly string[], desired: Desired): boolean {
  return featuresOf(desired).every(feature => features.includes(feature))
}

/**
 * What there is to say of a relay that is not sent to its agent, for the agent would run it without what it does not
 * understand. Nothing if it understands all, or is not there.
 */
export function refusalFor(relay: Relay, { hello, session, name }: Host): RelayReport | undefined {
  if (!session || !hello) return undefined
  const missing = featuresOf(toDesired(relay)).filter(feature => !hello.features.includes(feature))
  if (missing.length === 0) return undefined
  const problem = new RelayError('unsupported', {
    what: `relay/${relay.name} on ${name} rejected`,
    why: `the agent there runs version ${hello.version}, which does not know ${missing.join(', ')}`,
    fix: 'Update fleetcat on that host, or choose another agent',
  })
  return {
    relayId: relay.id,
    generation: relay.generation,
    state: RelayState.REJECTED,
    local: [],
    problem: toProblem(problem),
    retryAt: undefined,
    trace: [],
    refusals: {},
    targets: [],
  }
}
