import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { unary } from '#wire/call.ts'
import { usage } from './failure.ts'

/** The agent that is meant when none is named: the only one there is. Throws a RelayError `usage` that names them. */
export async function onlyAgent(operator: OperatorServiceClient, what: string): Promise<string> {
  const request = { selector: '', name: '' }
  const { agents } = await unary(operator, operator.listAgents, request, { what: 'list the agents' })
  const names = agents.map(({ name }) => name)
  if (names.length === 1) return names[0]!
  if (names.length === 0) {
    throw usage(
      what,
      'it names no agent, and none has joined this fleet yet',
      'Join one: `fleetcat token create agent`, then `fleetcat agent --join TOKEN` on its host',
    )
  }
  const shown =
    names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', ')
  throw usage(
    what,
    `it names no agent, and this fleet has ${names.length}: ${shown}`,
    `Add --on ${names[0]}, or -l SELECTOR`,
  )
}
