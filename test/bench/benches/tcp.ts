import { alternate, type Bench, type BenchContext, compared, type Outcome } from '../harness.ts'
import { cpuSecondsOf } from '../machine.ts'
import { findPeers, versionsOf } from '../peers.ts'
import { startHelper } from '../processes.ts'
import type { Done, LoadQuestion } from '../programs/load.ts'
import type { TargetQuestion } from '../programs/target.ts'
import { median } from '../statistics.ts'
import { noRelay, ours, reference, throughFleetcat, throughPeer, type Way } from '../ways.ts'

const rounds = 7
const sampleMs = 1_500

interface Comparison {
  readonly serve: 'echo' | 'source'
  readonly unit: string
  readonly question: (way: Way) => LoadQuestion
  readonly show: (rate: number) => string
  /** The relay's CPU: for how much work, and how it is shown. */
  readonly cpu: { readonly unit: string; readonly show: (secondsPerOne: number) => string }
}

/** The same load through every relay, in turn; all of them stay up for the whole run. */
async function compare(cx: BenchContext, comparison: Comparison): Promise<Outcome> {
  const { serve, unit, question, show, cpu } = comparison
  const peers = await findPeers(cx.missing)
  await using held = new AsyncDisposableStack()
  const target = held.use(await startHelper<TargetQuestion, number>('target.ts'))
  const load = held.use(await startHelper<LoadQuestion, Done>('load.ts'))
  const ways: Way[] = []
  for (const open of [noRelay, throughFleetcat, ...peers.map(throughPeer)])
    ways.push(held.use(await open(target, serve)))
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

const perSecond = (value: number) => Math.round(value).toLocaleString('en')
const microseconds = (seconds: number) => (seconds * 1e6).toFixed(0)

export const tcpStream: Bench = {
  name: 'tcp-stream',
  title: 'One TCP stream through a relay',
  about:
    'One connection, read as fast as it comes for 1.5 s a sample. Sender, relay and receiver are a process each, on the loopback.',
  run: cx =>
    compare(cx, {
      serve: 'source',
      unit: 'GB/s',
      question: ({ port }) => ({ do: 'stream', port, ms: sampleMs }),
      show: value => (value / 1e9).toFixed(2),
      cpu: { unit: 's a GB', show: seconds => (seconds * 1e9).toFixed(2) },
    }),
}

export const tcpRequests: Bench = {
  name: 'tcp-requests',
  title: 'Small requests on 50 kept connections',
  about: '100 bytes there, 100 bytes back, then the next; 50 connections at once, 1.5 s a sample.',
  run: cx =>
    compare(cx, {
      serve: 'echo',
      unit: 'requests/s',
      question: ({ port }) => ({ do: 'requests', port, connections: 50, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs a request', show: microseconds },
    }),
}

export const tcpConnections: Bench = {
  name: 'tcp-connections',
  title: 'New connections',
  about:
    'Connect, one byte there and back, close; 20 at a time, up to 4,000 or 1.5 s a sample. socat has `backlog=511`; with its own backlog of 5 it is slower.',
  run: cx =>
    compare(cx, {
      serve: 'echo',
      unit: 'connections/s',
      question: ({ port }) => ({ do: 'connect', port, total: 4_000, ms: sampleMs }),
      show: perSecond,
      cpu: { unit: 'µs a connection', show: microseconds },
    }),
}
