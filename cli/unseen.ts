import { AgentState, type OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { unary } from '#wire/call.ts'

/** Says which agents' connections nobody can know now: those that cannot be reached. Nothing if all can. */
export async function unseenAgents(
  operator: OperatorServiceClient,
  { relay, agent }: { relay: string; agent: string },
): Promise<string> {
  const { agents } = await unary(
    operator,
    operator.listAgents,
    { selector: '', name: agent },
    { what: 'list the agents' },
  )
  const unreachable = agents.filter(({ state }) => state === AgentState.UNREACHABLE).map(({ name }) => name)
  if (!relay || unreachable.length === 0) return unseenText(unreachable)
  const filter = { selector: '', agent: '', name: relay }
  const { relays } = await unary(operator, operator.listRelays, { filter }, { what: 'list the relays' })
  const running = new Set(relays.flatMap(({ agents }) => agents.map(({ agent }) => agent)))
  return unseenText(unreachable.filter(name => running.has(name)))
}

const shown = 8

export function unseenText(names: readonly string[]): string {
  if (names.length === 0) return ''
  if (names.length === 1) return `${names[0]} is unreachable; its connections are unknown`
  const more = names.length > shown ? [`${names.length - shown} more`] : []
  const all = [...names.slice(0, shown), ...more]
  return `${all.slice(0, -1).join(', ')} and ${all.at(-1)} are unreachable; their connections are unknown`
}

/** Says that an answer could not hold all connections. */
export function omittedText(count: number): string {
  return count === 0 ? '' : `${count} more are not shown; --relay, --agent or --source finds them`
}
