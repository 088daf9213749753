import { AgentState } from '#gen/fleetcat/v1/operator.ts'
import { ProbeVerdict, type Problem, RelayState, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { fromProblem } from '#wire/problem.ts'

/** The enums of the wire as the words that people and scripts read. */
function words<E extends Record<string, number>>(numbers: E): (value: number) => string {
  const byNumber = new Map(Object.entries(numbers).map(([name, n]) => [n, name.toLowerCase()]))
  return value => (value > 0 && byNumber.get(value)) || 'unknown'
}

export const relayState = words(RelayState)
export const agentState = words(AgentState)
export const verdictWord = words(VerdictKind)
export const probeVerdict = words(ProbeVerdict)

/** RFC 3339, or null for what has not happened. */
export const time = (at: Date | undefined): string | null => at?.toISOString() ?? null

export const problemText = (problem: Problem | undefined): string | null =>
  problem ? fromProblem(problem).message : null

export const labelText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => (value ? `${name}=${value}` : name))
    .join(',')
