import { type Bench, inTurn } from '../harness.ts'
import { ser2nets, ser2netsAre, socat } from '../serial-peers.ts'
import { findSerialPeers, openEach, openEnds, ours, roundTrips } from '../serial-ways.ts'
import { median, percentile } from '../statistics.ts'

const rounds = 5
const count = 2_000
const sampleMs = 300

export const serialRoundTrip: Bench = {
  name: 'serial-round-trip',
  title: 'One byte to a serial line and back',
  about: `From a TCP client through the relay to a pseudo-terminal whose other end sends it back, one at a time, up to ${count.toLocaleString('en')} or ${sampleMs / 1_000} s a sample. Both ends wait in the kernel, and not in an event loop. ${ser2netsAre}`,
  async run(cx) {
    const { kinds, versions } = await findSerialPeers(cx.missing, [socat, ...ser2nets])
    await using held = new AsyncDisposableStack()
    const ends = held.use(await openEnds())
    const open = await openEach(ends, [...ours, ...kinds], held)
    const sides = open.map(each => ({
      name: each.name,
      async measure() {
        const before = each.spent()
        const took = await roundTrips(ends, each, count, sampleMs)
        const cpu = ((each.spent() - before) * 1e6) / took.length
        return { p50: median(took), p99: percentile(took, 0.99), cpu }
      },
    }))
    const measured = await inTurn(sides, rounds, cx.say)
    const middle = (samples: readonly Sample[], figure: keyof Sample) =>
      median(samples.map(sample => sample[figure]))
    const bases = ['socat', 'ser2net'].map(peer => {
      const found = measured.find(({ name }) => name === peer)
      return found && middle(found.samples, 'p50')
    })
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
        const p50 = median(all)
        return [
          name,
          micros(p50),
          `${micros(Math.min(...all))} – ${micros(Math.max(...all))}`,
          micros(middle(samples, 'p99')),
          ...bases.map(base => (base ? ratio(p50 / base) : '–')),
          micros(middle(samples, 'cpu')),
        ]
      }),
      raw: { measured },
      versions,
    }
  },
}

interface Sample {
  readonly p50: number
  readonly p99: number
  readonly cpu: number
}

const ratio = (value: number) => `${value.toFixed(value < 10 ? 2 : 0)} ×`
const micros = (value: number) => Math.round(value).toLocaleString('en')
