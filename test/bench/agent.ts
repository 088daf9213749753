import { setTimeout as delay } from 'node:timers/promises'
import { AgentState, CreateTokenRequest } from '#gen/fleetcat/v1/operator.ts'
import { unary } from '#wire/call.ts'
import { toDuration } from '#wire/duration.ts'
import { type Fleet, launcher } from './fleet.ts'
import { type Program, start } from './processes.ts'

const patienceMs = 120_000

export async function tokenFor(
  { operator }: Fleet,
  labels: Record<string, string>,
  uses: number,
): Promise<string> {
  const request = CreateTokenRequest.fromPartial({ kind: 'agent', labels, uses, ttl: toDuration(600_000) })
  return (await unary(operator, operator.createToken, request, { what: 'make a token' })).token
}

export interface AgentWords {
  readonly token: string
  readonly name: string
  /** Where it keeps its state. */
  readonly data: string
  readonly more?: readonly string[]
}

/** A real agent in a process of its own, attached to the controller. */
export async function startAgent(
  fleet: Fleet,
  { token, name, data, more = [] }: AgentWords,
): Promise<Program> {
  const words = ['agent', '--join', token, '--name', name, '--data', data, '--log-level', 'warn', ...more]
  const program = await start(launcher, words, { env: fleet.env })
  try {
    await attached(fleet, name)
    return program
  } catch (thrown) {
    await program[Symbol.asyncDispose]()
    throw thrown
  }
}

async function attached({ operator }: Fleet, name: string): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const request = { selector: '', name }
    const { agents } = await unary(operator, operator.listAgents, request, { what: 'list the agents' })
    if (agents[0]?.state === AgentState.READY) return
    if (performance.now() > deadline) throw new Error(`${name} does not attach`)
    await delay(50)
  }
}
