import type { Bench, BenchContext, Outcome } from '../harness.ts'
import type { Heard } from '../pattern.ts'
import type { Pace, Paced } from '../programs/lines.ts'
import { ser2netShared, ser2nets, socat } from '../serial-peers.ts'
import {
  type Ends,
  findSerialPeers,
  type OpenLines,
  openEnds,
  openLines,
  ours,
  type SerialKind,
  throughAgent,
} from '../serial-ways.ts'

const ports = 8
const watchers = 8
/** 4 Mbaud, in packets of USB adapters: 400 KB/s. */
const pace: Pace = { bytes: 510, everyMs: 1.275 }
const warmUpMs = 1_000
const loadMs = 5_000

interface Carried extends Paced {
  readonly heard: readonly Heard[]
  readonly cpuSeconds: number
  readonly seconds: number
}

/** All lines talk at once; each client is checked for each byte. */
async function carry(
  { far, load }: Ends,
  { lines, clients, spent }: OpenLines,
  stalled: readonly number[] = [],
): Promise<Carried> {
  const talk = async (ms: number, still: readonly number[]) => {
    await load.ask({ do: 'listen', clients, stalled: still })
    const before = spent()
    const paced: Paced = await far.ask({ do: 'pace', lines, pace, ms })
    const cpuSeconds = spent() - before
    const heard: Heard[] = await load.ask({ do: 'heard', clients })
    return { ...paced, heard, cpuSeconds, seconds: ms / 1_000 }
  }
  await talk(warmUpMs, [])
  return await talk(loadMs, stalled)
}

const lostOf = (said: number, heard: readonly Heard[]) =>
  heard.reduce((sum, { bytes }) => sum + said - bytes, 0)
const breaksOf = (heard: readonly Heard[]) => heard.reduce((sum, { breaks }) => sum + breaks, 0)
const whole = (value: number) => Math.round(value).toLocaleString('en')
const share = ({ cpuSeconds, seconds }: Carried) => `${((cpuSeconds / seconds) * 100).toFixed(0)} %`

export const serialEight: Bench = {
  name: 'serial-eight',
  title: `${ports} serial ports at 400 KB/s each`,
  about: `${ports} pseudo-terminals, each with a client, whose other ends say 510 bytes each 1.3 ms for ${loadMs / 1_000} s, all at once. Each byte is checked for its place. As of a real port, 640 KB wait to be read, and what is more is lost.`,
  async run(cx) {
    const { kinds, versions } = await findSerialPeers(cx.missing, [socat, ...ser2nets.slice(0, 2)])
    await using held = new AsyncDisposableStack()
    const ends = held.use(await openEnds())
    const all: (Carried & { name: string })[] = []
    for (const kind of [...ours, ...kinds]) {
      await using open = await openLines(ends, kind, { lines: ports })
      all.push({ name: kind.name, ...(await carry(ends, open)) })
      cx.say(`${kind.name}: measured`)
    }
    return {
      columns: [
        '',
        'heard, MB',
        'bytes lost',
        'places out of order',
        'most that waited, KB',
        'CPU of one core',
        'µs a KB',
      ],
      rows: all.map(carried => {
        const { name, said, heard, mostKept, cpuSeconds } = carried
        const bytes = heard.reduce((sum, each) => sum + each.bytes, 0)
        return [
          name,
          (bytes / 1e6).toFixed(1),
          whole(lostOf(said, heard)),
          whole(breaksOf(heard)),
          (mostKept / 1e3).toFixed(0),
          share(carried),
          ((cpuSeconds * 1e9) / (said * ports)).toFixed(0),
        ]
      }),
      raw: { all },
      versions,
    }
  },
}

export const serialWatchers: Bench = {
  name: 'serial-watchers',
  title: `One serial port at 400 KB/s for one who writes and ${watchers} who watch`,
  about: `One pseudo-terminal as above, for ${loadMs / 1_000} s, whose bytes go to all of them; and one more client has stopped reading. fleetcat has \`share\`, and ser2net \`max-connections\` and large buffers. Each byte is checked for its place.`,
  run: async cx => {
    const { kinds, versions } = await findSerialPeers(cx.missing, [ser2netShared])
    const shared = [throughAgent('fleetcat, share', 'TCP4-LISTEN', ',share,notices=0'), ...kinds]
    return { ...(await watch(cx, shared)), versions }
  },
}

async function watch(cx: BenchContext, kinds: readonly SerialKind[]): Promise<Outcome> {
  await using held = new AsyncDisposableStack()
  const ends = held.use(await openEnds())
  const all: (Carried & { name: string })[] = []
  for (const kind of kinds) {
    await using open = await openLines(ends, kind, { lines: 1, clientsEach: watchers + 2 })
    all.push({ name: kind.name, ...(await carry(ends, open, open.clients.slice(-1))) })
    cx.say(`${kind.name}: measured`)
  }
  return {
    columns: ['', 'said, MB', 'lost by those who read', 'by who does not', 'CPU of one core'],
    rows: all.map(carried => {
      const { name, said, heard } = carried
      return [
        name,
        (said / 1e6).toFixed(1),
        whole(lostOf(said, heard.slice(0, -1))),
        whole(lostOf(said, heard.slice(-1))),
        share(carried),
      ]
    }),
    raw: { all },
  }
}
