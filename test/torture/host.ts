import { join } from 'node:path'
import { AgentState, CreateRelayRequest, CreateTokenRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { toDuration } from '#wire/duration.ts'
import { openTraffic, type Traffic } from '../faults/traffic.ts'
import { draft } from '../resources/drafts.ts'
import type { TestOperator } from '../resources/fleet.ts'
import { type KernelSocket, kernelSockets } from '../resources/kernel-sockets.ts'
import { launcher, type Program, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'
import { type ModelRelay, targetPort } from './model.ts'

/** One host of the fleet: its agent can be killed, stopped and struck off, and comes back. */
export interface Host extends AsyncDisposable {
  /** As the fleet knows it; another one after it was struck off. */
  readonly name: string
  readonly netns: string
  readonly traffic: Traffic
  readonly agent: Program
  sockets(): KernelSocket[]
  /** Starts the agent that was killed. */
  start(): void
  /** Joins anew, as another agent. */
  rejoin(): Promise<void>
  kill(): Promise<void>
  create(relay: { name: string; port: number; leaseMs: number }): Promise<ModelRelay>
  ready(relay: ModelRelay): Promise<void>
}

export const patienceMs = 60_000

interface Surroundings {
  readonly folder: string
  readonly netns: string
  readonly index: number
  readonly ask: TestOperator['ask']
}

export async function openHost({ folder, netns, index, ask }: Surroundings): Promise<Host> {
  await using opening = new AsyncDisposableStack()
  const traffic = opening.use(await openTraffic({ netns, port: targetPort }))
  let lives = 0
  let name = ''
  let agent: Program | undefined
  let hasEnded = false
  opening.defer(async () => agent?.[Symbol.asyncDispose]())

  function launch(...more: string[]): void {
    const command = [launcher, 'agent', '--data', join(folder, name), ...more]
    const started = startProgram(command, { netns, env: { FLEETCAT_HOME: join(folder, 'home') } })
    hasEnded = false
    void started.ended.then(() => {
      if (agent === started) hasEnded = true
    })
    agent = started
  }

  async function attached(token: string): Promise<void> {
    await until(
      `${name} is attached`,
      async () => {
        // It gives up to join when the controller is dead just then.
        if (hasEnded) launch('--join', token)
        const { agents } = await ask(c => c.listAgents, { selector: '', name })
        return agents[0]?.state === AgentState.READY
      },
      patienceMs,
    )
  }

  async function rejoin(): Promise<void> {
    await agent?.[Symbol.asyncDispose]()
    name = `host-${index}-${++lives}`
    const { token } = await ask(c => c.createToken, CreateTokenRequest.fromPartial({ kind: 'agent', name }))
    launch('--join', token)
    await attached(token)
  }
  await rejoin()

  async function viewOf(relay: { name: string }) {
    const { relays } = await ask(c => c.listRelays, {
      filter: { selector: '', agent: '', name: relay.name },
    })
    return relays[0]
  }

  const held = opening.move()
  return {
    get name() {
      return name
    },
    get agent() {
      return agent!
    },
    netns,
    traffic,
    sockets: () => kernelSockets(agent!.pid),
    rejoin,
    start: () => launch(),
    async kill() {
      agent!.kill('SIGKILL')
      await agent!.ended
    },
    async create({ name: relayName, port, leaseMs }) {
      const spec = {
        listen: `TCP4-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr`,
        targets: [`TCP4:127.0.0.1:${targetPort}`],
        agents: [name],
        lease: toDuration(leaseMs),
      }
      const request = { draft: draft(relayName, spec), requestId: `make-${relayName}` }
      const { relay } = await ask(c => c.createRelay, CreateRelayRequest.fromPartial(request))
      return { name: relayName, id: relay!.relay!.id, port, leaseMs }
    },
    ready: async relay => {
      await until(
        `${relay.name} is ready`,
        async () => (await viewOf(relay))?.state === RelayState.READY,
        patienceMs,
      )
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
