import { setTimeout as delay } from 'node:timers/promises'
import { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelaySpec, RelayState, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { messages, unary } from '#wire/call.ts'
import { toDuration } from '#wire/duration.ts'
import { sharedNow } from '../clock.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import type { Bench } from '../harness.ts'
import { cpuSecondsOf, memoryOf } from '../machine.ts'
import { type Helper, startHelper } from '../processes.ts'
import type { AgentsQuestion } from '../programs/agents.ts'
import { median, spread } from '../statistics.ts'

const count = 1_000
const workers = 2
const rounds = 5
const storms = 3
/** An agent counts a stream that lived this long as a good one, and then tries again at once. */
const calmMs = 6_000

type Workers = readonly Helper<AgentsQuestion, never>[]

/** One act: when it reached each agent, when the controller knew of all of them, and what it cost the controller. */
interface Act {
  readonly reachedMs: readonly number[]
  readonly totalMs: number
  readonly cpuSeconds: number
}

async function enrol({ operator }: Fleet, helpers: Workers): Promise<number> {
  const { token } = await unary(
    operator,
    operator.createToken,
    { kind: 'agent', name: '', labels: { fleet: 'bench' }, role: '', ttl: toDuration(600_000), uses: count },
    { what: 'make a token' },
  )
  const began = sharedNow()
  const names = Array.from({ length: count }, (_, n) => `agent-${n}`)
  await everyWorker(helpers, (_, n) => ({
    do: 'enrol',
    token,
    names: names.filter((_, at) => at % helpers.length === n),
  }))
  return sharedNow() - began
}

async function everyWorker<Answer>(
  helpers: Workers,
  question: (helper: Workers[number], n: number) => AgentsQuestion,
): Promise<Answer[]> {
  return Promise.all(helpers.map((helper, n) => helper.ask(question(helper, n))))
}

/** What the controller spends while `work` runs. */
async function costed<T>({ pid }: Fleet, work: () => Promise<T>): Promise<[T, number]> {
  const before = cpuSecondsOf(pid)
  const result = await work()
  return [result, cpuSecondsOf(pid) - before]
}

async function attach(fleet: Fleet, helpers: Workers): Promise<Act> {
  const began = sharedNow()
  const [answers, cpuSeconds] = await costed(fleet, () =>
    everyWorker<number[]>(helpers, () => ({ do: 'attach' })),
  )
  const reachedMs = answers.flat().map(at => at - began)
  return { reachedMs, totalMs: Math.max(...reachedMs), cpuSeconds }
}

async function create(fleet: Fleet, helpers: Workers, name: string): Promise<Act> {
  const { operator } = fleet
  const spec = RelaySpec.fromPartial({
    listen: 'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
    targets: ['TCP4:127.0.0.1:80'],
    selector: 'fleet=bench',
  })
  const request = { draft: { name, labels: {}, spec, reason: '' }, requestId: '', dryRun: false }
  const began = sharedNow()
  const [id, cpuSeconds] = await costed(fleet, async () => {
    const { relay } = await unary(operator, operator.createRelay, request, { what: `create ${name}` })
    await allReady(fleet, name)
    return relay!.relay!.id
  })
  const totalMs = sharedNow() - began
  return { reachedMs: await reached(helpers, id, began), totalMs, cpuSeconds }
}

/** As `create --wait` waits. */
async function allReady({ operator }: Fleet, name: string): Promise<void> {
  const filter = { selector: '', agent: '', name }
  for await (const { relays } of messages(operator.watchRelays({ filter }), `watch ${name}`)) {
    const ready = relays[0]?.agents.filter(({ state }) => state === RelayState.READY) ?? []
    if (ready.length === count) return
  }
  throw new Error(`the watch of ${name} ended`)
}

async function revoke(fleet: Fleet, helpers: Workers, name: string): Promise<Act> {
  const { operator } = fleet
  const request = RevokeRequest.fromPartial({ target: `relay/${name}`, reason: 'bench' })
  const began = sharedNow()
  const [id, cpuSeconds] = await costed(fleet, async () => {
    const { revocation } = await unary(operator, operator.revoke, request, { what: `revoke ${name}` })
    const { id } = revocation!.revocation!
    await allCut(fleet, id)
    return id
  })
  const totalMs = sharedNow() - began
  return { reachedMs: await reached(helpers, id, began), totalMs, cpuSeconds }
}

/** As `revoke` waits. */
async function allCut({ operator }: Fleet, id: string): Promise<void> {
  for await (const { revocation } of messages(operator.watchRevocation({ ids: [id] }), `watch ${id}`)) {
    const cut = revocation?.verdicts.filter(({ kind }) => kind === VerdictKind.CUT) ?? []
    if (cut.length === count) return
  }
  throw new Error(`not every agent has cut by revocation ${id}`)
}

async function reached(helpers: Workers, id: string, began: number): Promise<number[]> {
  const answers = await everyWorker<number[]>(helpers, () => ({ do: 'told', id }))
  const times = answers.flat().map(at => at - began)
  if (times.length !== count || times.some(Number.isNaN)) throw new Error(`${id} did not reach every agent`)
  return times
}

async function storm(fleet: Fleet, helpers: Workers): Promise<Act> {
  await delay(calmMs)
  const [answers, cpuSeconds] = await costed(fleet, () =>
    everyWorker<{ cutAt: number; welcomedAt: number[] }>(helpers, () => ({ do: 'cut' })),
  )
  const began = Math.min(...answers.map(({ cutAt }) => cutAt))
  const reachedMs = answers.flatMap(({ welcomedAt }) => welcomedAt).map(at => at - began)
  const { operator } = fleet
  const { agentsAttached } = await unary(operator, operator.getStatus, {}, { what: 'ask for the status' })
  if (agentsAttached !== count) throw new Error(`the controller has ${agentsAttached} of ${count} agents`)
  return { reachedMs, totalMs: Math.max(...reachedMs), cpuSeconds }
}

function row(name: string, acts: readonly Act[], memory: number): string[] {
  const { p50, p99, max } = spread(acts.flatMap(({ reachedMs }) => reachedMs))
  const cpu = median(acts.map(({ cpuSeconds }) => cpuSeconds))
  const total = median(acts.map(({ totalMs }) => totalMs))
  return [name, ...[p50, p99, max, total].map(ms => ms.toFixed(0)), cpu.toFixed(2), mebibytes(memory)]
}

const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0)

async function repeat(times: number, act: (n: number) => Promise<Act>): Promise<Act[]> {
  const acts: Act[] = []
  for (let n = 0; n < times; n++) acts.push(await act(n))
  return acts
}

export const thousandAgents: Bench = {
  name: 'thousand-agents',
  title: `One controller, ${count.toLocaleString('en')} agents`,
  about: `A real controller process and ${count.toLocaleString('en')} agents in ${workers} processes on the same machine, which speak the whole protocol (a certificate and a TLS connection each) and open no sockets for relays. p50, p99 and max are over the agents: when each was told, from the call on. "All known" is when \`create --wait\` or \`revoke\` returns: the controller has every report, or every receipt on its disk. The storm cuts every stream at once; each agent is back when it is welcomed.`,
  async run({ say }) {
    await using held = new AsyncDisposableStack()
    const fleet = held.use(await startFleet('controller'))
    const helpers: Helper<AgentsQuestion, never>[] = []
    for (let n = 0; n < workers; n++)
      helpers.push(held.use(await startHelper<AgentsQuestion, never>('agents.ts')))
    const memoryBefore = memoryOf(fleet.pid)
    const enrolledMs = await enrol(fleet, helpers)
    say(`enrolled in ${(enrolledMs / 1000).toFixed(1)} s`)
    const memoryEnrolled = memoryOf(fleet.pid)
    const attached = await attach(fleet, helpers)
    say(`attached in ${(attached.totalMs / 1000).toFixed(1)} s`)
    const memoryAttached = memoryOf(fleet.pid)
    const creates: Act[] = []
    const revokes: Act[] = []
    for (let n = 0; n < rounds; n++) {
      creates.push(await create(fleet, helpers, `bench-${n}`))
      revokes.push(await revoke(fleet, helpers, `bench-${n}`))
      say(`round ${n + 1} of ${rounds}`)
    }
    const memoryOrdered = memoryOf(fleet.pid)
    const reconnects = await repeat(storms, () => storm(fleet, helpers))
    const memoryAfter = memoryOf(fleet.pid)
    await everyWorker(helpers, () => ({ do: 'leave' }))
    return {
      columns: [
        '',
        'p50 ms',
        'p99 ms',
        'max ms',
        'all known ms',
        'controller CPU s',
        'its memory after, MiB',
      ],
      rows: [
        ['nothing yet', '', '', '', '', '', mebibytes(memoryBefore)],
        ['enrol', '', '', '', enrolledMs.toFixed(0), '', mebibytes(memoryEnrolled)],
        row('attach', [attached], memoryAttached),
        row('create', creates, memoryOrdered),
        row('revoke', revokes, memoryOrdered),
        row('reconnect storm', reconnects, memoryAfter),
      ],
      raw: {
        count,
        enrolledMs,
        attached,
        creates,
        revokes,
        reconnects,
        memory: { memoryBefore, memoryEnrolled, memoryAttached, memoryOrdered, memoryAfter },
      },
    }
  },
}
