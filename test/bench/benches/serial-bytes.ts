import { type Bench, type BenchContext, inTurn, type Outcome } from '../harness.ts'
import type { Heard } from '../pattern.ts'
import type { Pace, Paced } from '../programs/lines.ts'
import { ser2nets, ser2netsAre, socat } from '../serial-peers.ts'
import { type Ends, findSerialPeers, type OpenLines, openEach, openEnds, ours } from '../serial-ways.ts'
import { median } from '../statistics.ts'

const rounds = 3
const sampleMs = 300
const pacedMs = 800

type Figures = Readonly<Record<string, number>>

interface Asked {
  readonly columns: readonly [name: string, show: (value: number) => string][]
  measure(ends: Ends, open: OpenLines): Promise<Figures>
}

/** One line through each way, in turn. Each figure is shown by its median. */
async function throughEach(cx: BenchContext, { columns, measure }: Asked): Promise<Outcome> {
  const { kinds, versions } = await findSerialPeers(cx.missing, [socat, ...ser2nets.slice(0, 2)])
  await using held = new AsyncDisposableStack()
  const ends = held.use(await openEnds())
  const open = await openEach(ends, [...ours, ...kinds], held)
  const sides = open.map(each => ({ name: each.name, measure: () => measure(ends, each) }))
  const measured = await inTurn(sides, rounds, cx.say)
  return {
    columns: ['', ...columns.map(([name]) => name)],
    rows: measured.map(({ name, samples }) => [
      name,
      ...columns.map(([figure, show]) => show(median(samples.map(sample => sample[figure]!)))),
    ]),
    raw: { measured },
    versions,
  }
}

/** What a line has said, and who heard it; bytes that have not come are a failure of the bench or of the relay. */
function checked(
  name: string,
  said: number,
  { bytes, breaks, seconds }: Heard,
): { rate: number; lost: number } {
  if (bytes === 0) throw new Error(`${name}: nothing has come of ${said} bytes`)
  return { rate: bytes / seconds, lost: Math.max(said - bytes, breaks) }
}

async function fromLine({ far, load }: Ends, { name, lines: [line], clients, spent }: OpenLines) {
  await load.ask({ do: 'listen', clients, stalled: [] })
  const before = spent()
  const said: number = await far.ask({ do: 'source', line: line!, ms: sampleMs })
  const [heard]: Heard[] = await load.ask({ do: 'heard', clients })
  return { ...checked(name, said, heard!), cpu: perKilobyte(spent() - before, said) }
}

async function toLine({ far, load }: Ends, { name, lines: [line], clients: [client], spent }: OpenLines) {
  const before = spent()
  const sinking = far.ask({ do: 'sink', line: line! })
  const said: number = await load.ask({ do: 'say', client: client!, ms: sampleMs })
  const heard: Heard = await sinking
  return { ...checked(name, said, heard), cpu: perKilobyte(spent() - before, said) }
}

const perKilobyte = (seconds: number, bytes: number) => (seconds * 1e9) / bytes

export const serialStream: Bench = {
  name: 'serial-stream',
  title: 'As many bytes as a serial line takes',
  about: `One pseudo-terminal, ${sampleMs / 1_000} s a sample: what it says as fast as it is read, then what is said to it as fast as it takes it. Each byte is checked for its place. KB are thousands of bytes. ${ser2netsAre}`,
  run: cx =>
    throughEach(cx, {
      columns: [
        ['from the line, MB/s', megabytes],
        ['its CPU, µs a KB', micros],
        ['to the line, MB/s', megabytes],
        ['its CPU, µs a KB ', micros],
        ['bytes lost', whole],
      ],
      async measure(ends, open) {
        const from = await fromLine(ends, open)
        const to = await toLine(ends, open)
        return {
          'from the line, MB/s': from.rate,
          'its CPU, µs a KB': from.cpu,
          'to the line, MB/s': to.rate,
          'its CPU, µs a KB ': to.cpu,
          'bytes lost': from.lost + to.lost,
        }
      },
    }),
}

/** As adapters bring it over USB: what has come since the last time, or a packet that is full. */
const paces: Readonly<Record<string, Pace>> = {
  'at 11.5 KB/s': { bytes: 62, everyMs: 5.39 },
  'at 400 KB/s': { bytes: 510, everyMs: 1.275 },
}

export const serialPaced: Bench = {
  name: 'serial-paced',
  title: 'CPU of a serial line that talks at its own pace',
  about: `One pseudo-terminal whose other end says 62 bytes each 5.4 ms (115,200 baud), or 510 bytes each 1.3 ms (4 Mbaud), as USB adapters bring them; ${pacedMs / 1_000} s a sample, each byte checked. ${ser2netsAre}`,
  run: cx =>
    throughEach(cx, {
      columns: [
        ...Object.keys(paces).map((name): [string, typeof micros] => [`${name}, µs a KB`, micros]),
        ['bytes lost', whole],
      ],
      async measure({ far, load }, { name, lines, clients, spent }) {
        const figures: Record<string, number> = { 'bytes lost': 0 }
        for (const [each, pace] of Object.entries(paces)) {
          await load.ask({ do: 'listen', clients, stalled: [] })
          const before = spent()
          const { said }: Paced = await far.ask({ do: 'pace', lines, pace, ms: pacedMs })
          figures[`${each}, µs a KB`] = perKilobyte(spent() - before, said)
          const [heard]: Heard[] = await load.ask({ do: 'heard', clients })
          figures['bytes lost']! += checked(name, said, heard!).lost
        }
        return figures
      },
    }),
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)
const micros = (value: number) => value.toFixed(value < 10 ? 1 : 0)
const whole = (value: number) => Math.round(value).toLocaleString('en')
