import { alternate, type BenchContext, compared, type Measured, type Outcome } from './harness.ts'
import { cpuSecondsOf } from './machine.ts'
import { findPeers, type Known, type Peer, versionsOf } from './peers.ts'
import { startHelper } from './processes.ts'
import type { Done, LoadQuestion } from './programs/load.ts'
import type { TargetQuestion } from './programs/target.ts'
import { median } from './statistics.ts'
import { noRelay, type OpenWay, ours, reference, throughFleetcat, throughPeer, type Way } from './ways.ts'

const rounds = 7
/** How long one sample takes. */
export const sampleMs = 1_500

export interface Comparison {
  readonly serve: TargetQuestion['serve']
  readonly unit: string
  readonly question: (way: Way) => LoadQuestion
  readonly show: (rate: number) => string
  /** The relay's CPU: for how much work, and how it is shown. */
  readonly cpu: { readonly unit: string; readonly show: (secondsPerOne: number) => string }
  /** Against the quickest of the others, in place of socat. */
  readonly againstBest?: true
  /** Other relays than those of plain TCP, and the ways beside them. */
  readonly known?: readonly Known[]
  readonly ways?: readonly OpenWay[]
}

/** The same load through every relay, in turn; all of them stay up for the whole run. */
export async function compare(cx: BenchContext, comparison: Comparison): Promise<Outcome> {
  const { serve, unit, question, show, cpu, known, againstBest } = comparison
  const besides = comparison.ways ?? [noRelay, throughFleetcat]
  const peers = await findPeers(cx.missing, known)
  await using held = new AsyncDisposableStack()
  const target = held.use(await startHelper<TargetQuestion, number>('target.ts'))
  const load = held.use(await startHelper<LoadQuestion, Done>('load.ts'))
  const ways: Way[] = []
  for (const open of [...besides, ...peers.map(throughPeer)]) ways.push(held.use(await open(target, serve)))
  const meters = ways.map(meterOf)
  const sides = ways.map((way, at) => ({
    name: way.name,
    async measure() {
      const { amount, seconds } = await meters[at]!.over(() => load.ask(question(way)))
      return amount / seconds
    },
  }))
  const measured = await alternate(sides, rounds, cx.say)
  const base = againstBest ? bestOf(measured, peers) : reference
  const cost = (samples: readonly number[]) => (samples.length > 0 ? cpu.show(median(samples)) : '–')
  const isJoined = ways.some(({ joining }) => joining)
  return {
    columns: [
      '',
      unit,
      'lowest – highest',
      `against ${againstBest ? 'the best peer' : base}`,
      `CPU of ${isJoined ? 'both ends' : 'the relay'}, ${cpu.unit}`,
      ...(isJoined ? ['CPU of what joins them'] : []),
    ],
    rows: compared(measured, base, show).map((row, at) => {
      const { spent, joining } = meters[at]!
      return [...row, cost(spent), ...(isJoined ? [cost(joining)] : [])]
    }),
    raw: {
      unit,
      ours,
      measured,
      cpuSecondsPerOne: Object.fromEntries(ways.map(({ name }, at) => [name, meters[at]!.spent])),
      cpuSecondsOfJoiningPerOne: Object.fromEntries(ways.map(({ name }, at) => [name, meters[at]!.joining])),
    },
    versions: versionsOf(peers),
  }
}

/** What the processes of one way take for each load. */
function meterOf({ pid, far, joining }: Way) {
  const carrying = [pid, far].filter(each => each !== undefined)
  const spent: number[] = []
  const joined: number[] = []
  const all = (pids: readonly number[]) => pids.reduce((sum, each) => sum + cpuSecondsOf(each), 0)
  return {
    spent,
    joining: joined,
    async over(work: () => Promise<Done>): Promise<Done> {
      const before = all(carrying)
      const joiningBefore = joining ? cpuSecondsOf(joining) : 0
      const done = await work()
      if (carrying.length > 0) spent.push((all(carrying) - before) / done.amount)
      if (joining) joined.push((cpuSecondsOf(joining) - joiningBefore) / done.amount)
      return done
    },
  }
}

function bestOf(measured: readonly Measured[], peers: readonly Peer[]): string {
  const others = measured.filter(({ name }) => peers.some(peer => peer.name === name))
  return others.sort((a, b) => b.median - a.median)[0]?.name ?? ''
}

export const perSecond = (value: number) => Math.round(value).toLocaleString('en')
export const microseconds = (seconds: number) => (seconds * 1e6).toFixed(0)
