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

interface Back {
  readonly cutAt: number
  readonly welcomedAt: readonly number[]
  readonly leasedAt: readonly number[]
}

/** While all streams are cut a relay is revoked: each agent hears of that before it may go on with anything. */
async function storm(
  fleet: Fleet,
  helpers: Workers,
  name: string,
): Promise<{ back: Act; leased: Act; revoked: Act }> {
  const { operator } = fleet
  await create(fleet, helpers, name)
  await delay(calmMs)
  const request = RevokeRequest.fromPartial({ target: `relay/${name}`, reason: 'bench' })
  const ordered = Promise.withResolvers<string>()
  const [answers, cpuSeconds] = await costed(fleet, async () => {
    const cutting = everyWorker<Back>(helpers, () => ({ do: 'cut' }))
    unary(operator, operator.revoke, request, { what: `revoke ${name}` }).then(
      ({ revocation }) => ordered.resolve(revocation!.revocation!.id),
      ordered.reject,
    )
    return cutting
  })
  const began = Math.min(...answers.map(({ cutAt }) => cutAt))
  const id = await ordered.promise
  await allCut(fleet, id)
  const told = await everyWorker<number[]>(helpers, () => ({ do: 'told', id }))
  const { agentsAttached } = await unary(operator, operator.getStatus, {}, { what: 'ask for the status' })
  if (agentsAttached !== count) throw new Error(`the controller has ${agentsAttached} of ${count} agents`)
  const leasedAt = answers.flatMap(each => each.leasedAt)
  const late = told.flat().filter((at, n) => !(at <= leasedAt[n]!)).length
  if (late > 0) throw new Error(`${late} agents could go on before they heard of the revoke`)
  const act = (times: readonly number[]): Act => {
    const reachedMs = times.map(at => at - began)
    return { reachedMs, totalMs: Math.max(...reachedMs), cpuSeconds }
  }
  return {
    back: act(answers.flatMap(each => each.welcomedAt)),
    leased: act(leasedAt),
    revoked: act(told.flat()),
  }
}

function row(name: string, acts: readonly Act[], memory: number): string[] {
  const { p50, p99, max } = spread(acts.flatMap(({ reachedMs }) => reachedMs))
  const cpu = median(acts.map(({ cpuSeconds }) => cpuSeconds))
  const total = median(acts.map(({ totalMs }) => totalMs))
  return [name, ...[p50, p99, max, total].map(ms => ms.toFixed(0)), cpu.toFixed(2), mebibytes(memory)]
}

const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0)

export const thousandAgents: Bench = {
  name: 'thousand-agents',
  title: `One controller, ${count.toLocaleString('en')} agents`,
  about: `A real controller process and ${count.toLocaleString('en')} agents in ${workers} processes on the same machine, which speak the whole protocol (a certificate and a TLS connection each) and open no sockets for relays. p50, p99 and max are over the agents: when each was told, from the call on. "All known" is when \`create --wait\` or \`revoke\` returns: the controller has every report, or every receipt on its disk. The storm cuts every stream at once and revokes a relay at the same time; the bench fails if any agent has its lease again before it has heard of the revoke.`,
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
    const reconnects = []
    for (let n = 0; n < storms; n++) reconnects.push(await storm(fleet, helpers, `storm-${n}`))
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
        row(
          'reconnect storm: welcomed',
          reconnects.map(({ back }) => back),
          memoryAfter,
        ),
        row(
          'told of a revoke meanwhile',
          reconnects.map(({ revoked }) => revoked),
          memoryAfter,
        ),
        row(
          'with their leases',
          reconnects.map(({ leased }) => leased),
          memoryAfter,
        ),
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
