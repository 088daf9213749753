import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelaySpec, RelayState, type Verdict, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { messages, unary } from '#wire/call.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { startAgent, tokenFor } from '../agent.ts'
import { sharedNow } from '../clock.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import type { Bench } from '../harness.ts'
import { cpuSecondsOf } from '../machine.ts'
import { type Helper, startHelper } from '../processes.ts'
import type { AgentsQuestion } from '../programs/agents.ts'
import type { HoldersQuestion } from '../programs/holders.ts'
import type { TargetQuestion } from '../programs/target.ts'
import { median, spread } from '../statistics.ts'

const real = 20
const simulated = 980
const connectionsEach = 500
const rounds = 3
const workers = 2
const sizes = [10, 100, simulated]
const atOnce = 4

type Agents = Helper<AgentsQuestion, never>
type Holders = Helper<HoldersQuestion, never>

/** One revoke: when each real agent had closed all, when each client knew, and when the controller had every receipt. */
interface Cut {
  readonly closedMs: readonly number[]
  readonly tookMs: readonly number[]
  readonly lostMs: readonly number[]
  readonly answeredMs: number
  readonly knownMs: number
  readonly cpuSeconds: number
}

async function startReal(fleet: Fleet, folder: string, held: AsyncDisposableStack): Promise<string[]> {
  const token = await tokenFor(fleet, { fleet: 'bench', kind: 'real' }, real)
  const names = Array.from({ length: real }, (_, n) => `real-${n}`)
  const waiting = [...names]
  const worker = async () => {
    for (let name = waiting.shift(); name; name = waiting.shift()) {
      held.use(await startAgent(fleet, { token, name, data: join(folder, name) }))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return names
}

async function create(fleet: Fleet, name: string, spec: Parameters<typeof RelaySpec.fromPartial>[0]) {
  const { operator } = fleet
  const draft = { name, labels: {}, spec: RelaySpec.fromPartial(spec), reason: '' }
  await unary(
    operator,
    operator.createRelay,
    { draft, requestId: '', dryRun: false },
    { what: `create ${name}` },
  )
  const filter = { selector: '', agent: '', name }
  for await (const { relays } of messages(operator.watchRelays({ filter }), `watch ${name}`)) {
    const agents = relays[0]?.agents ?? []
    if (agents.length > 0 && agents.every(({ state }) => state === RelayState.READY)) return agents
  }
  throw new Error(`the watch of ${name} ended`)
}

async function revoke({ operator, pid }: Fleet, name: string) {
  const request = RevokeRequest.fromPartial({ target: `relay/${name}`, reason: 'bench' })
  const cpuBefore = cpuSecondsOf(pid)
  const beganAt = Date.now()
  const began = sharedNow()
  const { revocation } = await unary(operator, operator.revoke, request, { what: `revoke ${name}` })
  const answeredMs = sharedNow() - began
  const id = revocation!.revocation!.id
  let verdicts: readonly Verdict[] = []
  for await (const { revocation } of messages(operator.watchRevocation({ ids: [id] }), `watch ${id}`)) {
    verdicts = revocation?.verdicts ?? []
    if (verdicts.every(({ kind }) => kind === VerdictKind.CUT)) break
  }
  const receipts = verdicts.filter(({ agent }) => agent.startsWith('real-')).map(({ receipt }) => receipt!)
  return {
    id,
    // One machine, one clock.
    closedMs: receipts.map(({ at }) => at!.getTime() - beganAt),
    tookMs: receipts.map(({ took }) => toMilliseconds(took!)),
    began,
    answeredMs,
    knownMs: sharedNow() - began,
    cpuSeconds: cpuSecondsOf(pid) - cpuBefore,
  }
}

async function cutAll(fleet: Fleet, holders: Holders, target: number, n: number): Promise<Cut> {
  const name = `everywhere-${n}`
  const agents = await create(fleet, name, {
    listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork',
    targets: [`TCP4:127.0.0.1:${target}`],
    selector: 'fleet=bench',
  })
  const ports = agents
    .filter(({ agent }) => agent.startsWith('real-'))
    .map(({ report }) => Number(report?.local[0]?.split(':').at(-1)))
  await holders.ask({ do: 'hold', ports, each: connectionsEach })
  // What the agents still have to say of so many connections is no part of it.
  await delay(2_000)
  const { began, ...order } = await revoke(fleet, name)
  const lost: number[] = await holders.ask({ do: 'lost' })
  return { ...order, lostMs: lost.map(at => at - began) }
}

/** The same order to so many agents that hold nothing open: what each of them costs. */
async function fanOut(fleet: Fleet, helpers: readonly Agents[], names: readonly string[], n: number) {
  const name = `fan-out-${names.length}-${n}`
  await create(fleet, name, {
    listen: 'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
    targets: ['TCP4:127.0.0.1:80'],
    agents: [...names],
  })
  const { id, began, knownMs, cpuSeconds } = await revoke(fleet, name)
  const answers = await Promise.all(
    helpers.map(helper => helper.ask({ do: 'told', id }) as Promise<number[]>),
  )
  const told = answers.flat().filter(at => !Number.isNaN(at))
  if (told.length !== names.length) throw new Error(`${told.length} of ${names.length} agents were told`)
  return { reachedMs: told.map(at => at - began), knownMs, cpuSeconds }
}

export const revokeEverywhere: Bench = {
  name: 'revoke-everywhere',
  title: `One revoke, 1,000 agents, ${(real * connectionsEach).toLocaleString('en')} connections`,
  about: `A real controller; ${real} real agents in processes of their own, with ${connectionsEach} live TCP connections each through one relay; and ${simulated} simulated agents, which speak the whole protocol and open no sockets. All of them, their clients and their target share the machine. The first rows are over ${rounds} revokes: when each real agent had closed its last descriptor, from the call on, how much of that was its own work, and when each client had seen its reset. The clients are one process, which takes its own time for so many resets. The others are over the simulated agents alone: when each was told.`,
  async run({ say }) {
    await using held = new AsyncDisposableStack()
    const fleet = held.use(await startFleet('controller'))
    const target = held.use(await startHelper<TargetQuestion, number>('target.ts'))
    const holders = held.use(await startHelper<HoldersQuestion, never>('holders.ts'))
    const helpers: Agents[] = []
    for (let n = 0; n < workers; n++)
      helpers.push(held.use(await startHelper<AgentsQuestion, never>('agents.ts')))
    const port = await target.ask({ serve: 'echo' })

    const names = Array.from({ length: simulated }, (_, n) => `agent-${n}`)
    const token = await tokenFor(fleet, { fleet: 'bench' }, simulated)
    await Promise.all(
      helpers.map((helper, n) =>
        helper.ask({ do: 'enrol', token, names: names.filter((_, at) => at % workers === n) }),
      ),
    )
    await Promise.all(helpers.map(helper => helper.ask({ do: 'attach' })))
    say(`${simulated} simulated agents are attached`)
    await startReal(fleet, join(fleet.env.FLEETCAT_HOME!, 'agents'), held)
    say(`${real} real agents are attached`)

    const cuts: Cut[] = []
    for (let n = 0; n < rounds; n++) {
      cuts.push(await cutAll(fleet, holders, port, n))
      say(`round ${n + 1} of ${rounds}`)
    }
    const all = real + simulated
    const over = (of: (cut: Cut) => readonly number[]) => spread(cuts.flatMap(of))
    const rows = [
      row(
        `${connectionsEach} connections of a real agent closed`,
        over(each => each.closedMs),
        cuts,
        all,
      ),
      row(
        'of that, its own work',
        over(each => each.tookMs),
        cuts,
        all,
      ),
      row(
        'a client has seen its reset',
        over(each => each.lostMs),
        cuts,
        all,
      ),
    ]
    const raw: Record<string, unknown> = { cuts }
    for (const size of sizes) {
      const acts = []
      for (let n = 0; n < rounds; n++) acts.push(await fanOut(fleet, helpers, names.slice(0, size), n))
      rows.push(row(`${size} agents told`, spread(acts.flatMap(({ reachedMs }) => reachedMs)), acts, size))
      raw[`fanOut${size}`] = acts
    }
    await Promise.all(helpers.map(helper => helper.ask({ do: 'leave' })))
    return {
      columns: ['', 'p50 ms', 'p99 ms', 'max ms', 'every receipt in, ms', 'controller CPU, ms an agent'],
      rows,
      raw,
    }
  },
}

function row(
  name: string,
  { p50, p99, max }: ReturnType<typeof spread>,
  acts: readonly { readonly knownMs: number; readonly cpuSeconds: number }[],
  agents: number,
): string[] {
  const known = median(acts.map(({ knownMs }) => knownMs))
  const cpu = (median(acts.map(({ cpuSeconds }) => cpuSeconds)) * 1_000) / agents
  return [name, ...[p50, p99, max, known].map(ms => ms.toFixed(0)), cpu.toFixed(2)]
}
