import { text as readText } from 'node:stream/consumers'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { AgentState, type AgentView } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { isCounts } from '#relay/serial/companion.ts'
import type { ListedPort } from '#relay/serial/ports.ts'
import { unary } from '#wire/call.ts'
import type { Fleet } from '../client.ts'
import { openTunnels, type Tunnels } from '../tunnels.ts'
import { agentState } from '../views/words.ts'
import { isLasting } from './again.ts'

/** What one agent says of its ports, or why it says nothing. */
export type HostPorts = { readonly agent: string } & (
  | { readonly ports: readonly ListedPort[] }
  | { readonly error: RelayError }
)

/** Asked at a time: a fleet of a thousand hosts shall not open a thousand tunnels at once. */
const atOnce = 16
const patienceMs = 10_000

/**
 * Asks every agent that matches, and answers in the order of their names. Rejects with a RelayError when all of them refuse
 * it for the same reason.
 */
export async function fleetPorts(
  fleet: Fleet,
  { selector, agent }: { readonly selector: string; readonly agent: string },
): Promise<HostPorts[]> {
  const agents = await matching(fleet.operator, selector, agent)
  await using tunnels = openTunnels(fleet, { purpose: 'ports' })
  const answers: HostPorts[] = new Array(agents.length)
  let next = 0
  const ask = async () => {
    while (next < agents.length) {
      const at = next++
      answers[at] = await portsOf(agents[at]!, tunnels)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, agents.length) }, ask))
  const refusal = sameRefusal(answers)
  if (refusal) throw refusal
  return answers
}

/** What all of them say, if that is of who asks and not of them: that he may not. */
function sameRefusal(answers: readonly HostPorts[]): RelayError | undefined {
  const errors = answers.flatMap(answer => ('error' in answer ? [answer.error] : []))
  const [first, ...others] = errors
  if (!first || errors.length < answers.length || !isLasting(first)) return undefined
  const isSame = others.every(({ code, why }) => code === first.code && why === first.why)
  return isSame ? first.within('list the serial ports') : undefined
}

async function matching(
  operator: OperatorServiceClient,
  selector: string,
  name: string,
): Promise<AgentView[]> {
  const { agents } = await unary(
    operator,
    operator.listAgents,
    { selector, name },
    { what: 'list the agents' },
  )
  return agents
    .filter(({ state }) => state !== AgentState.REVOKED)
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

async function portsOf({ name: agent, state }: AgentView, tunnels: Tunnels): Promise<HostPorts> {
  const what = `the ports of agent/${agent}`
  if (state !== AgentState.READY) {
    const why = `the agent is ${agentState(state)}`
    return { agent, error: new RelayError('unavailable', { what, why }) }
  }
  const within = AbortSignal.timeout(patienceMs)
  try {
    await using channel = await tunnels.open(`@${agent}/PORTS`, within)
    const onAbort = () => channel.abort(RelayError.from(within.reason, what))
    within.addEventListener('abort', onAbort)
    channel.stream.end()
    return { agent, ports: read(await readText(channel.stream), what) }
  } catch (thrown) {
    return { agent, error: RelayError.from(within.aborted ? within.reason : thrown, what) }
  }
}

/** What another host says is looked at before anybody believes it. */
function read(answer: string, what: string): ListedPort[] {
  const nonsense = () => new RelayError('internal', { what, why: 'the agent’s answer makes no sense' })
  let ports: unknown
  try {
    ports = JSON.parse(answer).ports
  } catch {
    throw nonsense()
  }
  if (!Array.isArray(ports) || !ports.every(isPort)) throw nonsense()
  return ports
}

function isPort(value: unknown): value is ListedPort {
  if (typeof value !== 'object' || value === null) return false
  const { path, names, users, errors } = value as Record<string, unknown>
  if (errors !== undefined && !isCounts(errors)) return false
  return typeof path === 'string' && Array.isArray(names) && Array.isArray(users)
}
