import { alternate, type BenchContext, compared, type Outcome } from './harness.ts'
import { cpuSecondsOf } from './machine.ts'
import { findPeers, type Known, versionsOf } from './peers.ts'
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
  /** Other relays than those of plain TCP, and the ways beside them. */
  readonly known?: readonly Known[]
  readonly ways?: readonly OpenWay[]
}

/** The same load through every relay, in turn; all of them stay up for the whole run. */
export async function compare(cx: BenchContext, comparison: Comparison): Promise<Outcome> {
  const { serve, unit, question, show, cpu, known, ways: besides = [noRelay, throughFleetcat] } = comparison
  const peers = await findPeers(cx.missing, known)
  await using held = new AsyncDisposableStack()
  const target = held.use(await startHelper<TargetQuestion, number>('target.ts'))
  const load = held.use(await startHelper<LoadQuestion, Done>('load.ts'))
  const ways: Way[] = []
  for (const open of [...besides, ...peers.map(throughPeer)]) ways.push(held.use(await open(target, serve)))
  const spent = ways.map((): number[] => [])
  const sides = ways.map((way, at) => ({
    name: way.name,
    async measure() {
      const before = way.pid ? cpuSecondsOf(way.pid) : 0
      const { amount, seconds } = await load.ask(question(way))
      if (way.pid) spent[at]!.push((cpuSecondsOf(way.pid) - before) / amount)
      return amount / seconds
    },
  }))
  const measured = await alternate(sides, rounds, cx.say)
  const costs = spent.map(samples => (samples.length > 0 ? cpu.show(median(samples)) : '–'))
  return {
    columns: ['', unit, 'lowest – highest', `against ${reference}`, `CPU of the relay, ${cpu.unit}`],
    rows: compared(measured, reference, show).map((row, at) => [...row, costs[at]!]),
    raw: {
      unit,
      ours,
      measured,
      cpuSecondsPerOne: Object.fromEntries(ways.map(({ name }, at) => [name, spent[at]])),
    },
    versions: versionsOf(peers),
  }
}

export const perSecond = (value: number) => Math.round(value).toLocaleString('en')
export const microseconds = (seconds: number) => (seconds * 1e6).toFixed(0)
