import type { Bench } from '../harness.ts'
import { inTurn } from '../harness.ts'
import { ser2nets, socat } from '../serial-peers.ts'
import { findSerialPeers, openEach, openEnds, ours } from '../serial-ways.ts'
import { median, percentile } from '../statistics.ts'

const rounds = 5
const count = 2_000
const sampleMs = 500

export const serialRoundTrip: Bench = {
  name: 'serial-round-trip',
  title: 'One byte to a serial line and back',
  about: `From a TCP client through the relay to a pseudo-terminal whose other end sends it back, one at a time, up to ${count.toLocaleString('en')} or ${sampleMs / 1_000} s a sample. Both ends wait in the kernel, and not in an event loop. ser2net as it is by itself gathers for a millisecond; without \`chardelay\` it is at its quickest.`,
  async run(cx) {
    const { kinds, versions } = await findSerialPeers(cx.missing, [socat, ...ser2nets])
    await using held = new AsyncDisposableStack()
    const ends = held.use(await openEnds())
    const open = await openEach(ends, [...ours, ...kinds], held)
    const sides = open.map(({ name, lines: [line], clients: [client], spent }) => ({
      name,
      async measure() {
        const echoing = ends.far.ask({ do: 'echo', line: line! })
        const before = spent()
        const took: number[] = await ends.load.ask({
          do: 'round-trips',
          client: client!,
          count,
          ms: sampleMs,
        })
        const cpu = ((spent() - before) * 1e6) / took.length
        await echoing
        return { p50: median(took), p99: percentile(took, 0.99), cpu }
      },
    }))
    const measured = await inTurn(sides, rounds, cx.say)
    const of = (figure: 'p50' | 'p99' | 'cpu', name: string) =>
      median(measured.find(each => each.name === name)?.samples.map(sample => sample[figure]) ?? [])
    const against = (value: number, base: number) =>
      Number.isNaN(base) ? '–' : `${(value / base).toPrecision(2)} ×`
    const base = ['socat', 'ser2net'].map(name => of('p50', name))
    return {
      columns: [
        '',
        'p50 µs',
        'lowest – highest',
        'p99 µs',
        'against socat',
        'against ser2net',
        'CPU, µs each',
      ],
      rows: measured.map(({ name, samples }) => {
        const all = samples.map(({ p50 }) => p50)
        const middle = median(all)
        return [
          name,
          micros(middle),
          `${micros(Math.min(...all))} – ${micros(Math.max(...all))}`,
          micros(of('p99', name)),
          ...base.map(value => against(middle, value)),
          micros(of('cpu', name)),
        ]
      }),
      raw: { measured },
      versions,
    }
  },
}

const micros = (value: number) => Math.round(value).toLocaleString('en')
