import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import { unary } from '#wire/call.ts'
import { startAgent, tokenFor } from './agent.ts'
import { startFleet } from './fleet.ts'
import { runSecondsOf } from './machine.ts'
import { freePort } from './ports.ts'
import { find, type Helper, outputOf, startHelper } from './processes.ts'
import type { LineQuestion } from './programs/lines.ts'
import type { SerialQuestion } from './programs/serial-load.ts'
import type { SerialPeer } from './serial-peers.ts'

/** What leads TCP connections to serial lines: a port for each line. */
export interface SerialWay extends AsyncDisposable {
  readonly name: string
  /** Its clients speak telnet, with RFC 2217. */
  readonly telnet: boolean
  readonly ports: readonly number[]
  /** Of the processes that lead them there. */
  readonly pids: readonly number[]
}

export interface SerialKind {
  readonly name: string
  open(lines: readonly string[]): Promise<SerialWay>
}

/** An agent of its own, whose process has the ports; the controller is another, and no part of the figures. */
export function throughAgent(name: string, listen: 'TCP4-LISTEN' | 'RFC2217-LISTEN', more = ''): SerialKind {
  return {
    name,
    async open(lines) {
      await using opening = new AsyncDisposableStack()
      const fleet = opening.use(await startFleet('controller'))
      const folder = await mkdtemp(join(tmpdir(), 'fleetcat-bench-serial-'))
      opening.defer(() => rm(folder, { recursive: true, force: true }))
      const permits = [...lines.map(line => `SERIAL:${line}`), 'RFC2217-LISTEN:127.0.0.1:*']
      const agent = opening.use(
        await startAgent(fleet, {
          token: await tokenFor(fleet, {}, 1),
          name: 'lab',
          data: join(folder, 'lab'),
          more: permits.flatMap(line => ['--permit', line]),
        }),
      )
      const { operator } = fleet
      const ports: number[] = []
      for (const line of lines) {
        const port = await freePort()
        const spec = RelaySpec.fromPartial({
          listen: `${listen}:${port},bind=127.0.0.1,fork`,
          targets: [`SERIAL:${line},baud=115200${more}`],
          agents: ['lab'],
        })
        const draft = { name: `line-${ports.length}`, labels: {}, spec, reason: '' }
        const request = { draft, requestId: '', dryRun: false }
        await unary(operator, operator.createRelay, request, { what: `create ${draft.name}` })
        ports.push(port)
      }
      const held = opening.move()
      return {
        name,
        telnet: listen === 'RFC2217-LISTEN',
        ports,
        pids: [agent.pid],
        [Symbol.asyncDispose]: () => held.disposeAsync(),
      }
    },
  }
}

export const ours: readonly SerialKind[] = [
  throughAgent('fleetcat', 'TCP4-LISTEN'),
  throughAgent('fleetcat, RFC2217-LISTEN', 'RFC2217-LISTEN'),
]

/** The peers that this machine has; `missing` is told of the others. */
export async function findSerialPeers(missing: (words: string) => void, known: readonly SerialPeer[]) {
  const kinds: SerialKind[] = []
  const versions: Record<string, string> = {}
  for (const { name, program, askVersion, telnet, open } of known) {
    const command = find(program)
    if (!command) {
      missing(`${name}: ${program} is not installed`)
      continue
    }
    versions[program] ??= /\d+\.\d+[\w.]*/.exec(await outputOf(command, askVersion))?.[0] ?? 'unknown'
    kinds.push({ name, open: async lines => ({ name, telnet, ...(await open(command, lines)) }) })
  }
  return { kinds, versions }
}

/** Who sits at both ends of all lines. */
export interface Ends extends AsyncDisposable {
  readonly far: Helper<LineQuestion, never>
  readonly load: Helper<SerialQuestion, never>
}

export async function openEnds(): Promise<Ends> {
  await using opening = new AsyncDisposableStack()
  const far = opening.use(await startHelper<LineQuestion, never>('lines.ts'))
  const load = opening.use(await startHelper<SerialQuestion, never>('serial-load.ts'))
  const held = opening.move()
  return { far, load, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** Lines of its own that are open, with clients that have them. */
export interface OpenLines extends AsyncDisposable {
  readonly name: string
  readonly lines: readonly string[]
  /** Those of the first line first, and of each line in the order in which they came. */
  readonly clients: readonly number[]
  readonly pids: readonly number[]
  /** Seconds of CPU so far. */
  spent(): number
}

const patienceMs = 15_000
const settleMs = 250

/**
 * So many lines through one way, each with so many clients. They are there when each client has heard its
 * line; `started` is called with the processes before there is any.
 */
export async function openLines(
  { far, load }: Ends,
  kind: SerialKind,
  { lines: count = 1, clientsEach = 1, started = async (_: readonly number[]) => {} } = {},
): Promise<OpenLines> {
  await using opening = new AsyncDisposableStack()
  const lines: string[] = await far.ask({ do: 'open', count })
  opening.defer(async () => void (await far.ask({ do: 'close', lines })))
  const { ports, pids, telnet, name } = opening.use(await kind.open(lines))
  await started(pids)
  const each = ports.flatMap(port => Array.from({ length: clientsEach }, () => port))
  const clients: number[] = await load.ask({ do: 'connect', ports: each, telnet })
  opening.defer(async () => void (await load.ask({ do: 'leave', clients })))
  const deadline = performance.now() + patienceMs
  for (let deaf = clients; deaf.length > 0; ) {
    if (performance.now() > deadline)
      throw new Error(`${name}: ${deaf.length} of ${clients.length} clients do not hear their lines`)
    await far.ask({ do: 'mark', lines })
    await delay(settleMs)
    deaf = await load.ask({ do: 'unmarked', clients })
  }
  const held = opening.move()
  return {
    name,
    lines,
    clients,
    pids,
    spent: () => pids.reduce((sum, pid) => sum + runSecondsOf(pid), 0),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

const warmUps = 20_000
const warmUpMs = 1_000

/** One line through each of them, all open at once. They have carried some bytes: a line is open for hours. */
export async function openEach(ends: Ends, kinds: readonly SerialKind[], held: AsyncDisposableStack) {
  const open: OpenLines[] = []
  for (const kind of kinds) {
    const each = held.use(await openLines(ends, kind))
    await roundTrips(ends, each, warmUps, warmUpMs)
    open.push(each)
  }
  return open
}

/** One byte to the first line and back, over and over. Answers how long each took, in µs. */
export async function roundTrips(
  { far, load }: Ends,
  { lines: [line], clients: [client] }: OpenLines,
  count: number,
  ms: number,
): Promise<number[]> {
  const echoing = far.ask({ do: 'echo', line: line! })
  const took: number[] = await load.ask({ do: 'round-trips', client: client!, count, ms })
  await echoing
  return took
}
