import { RelayError } from '#relay/errors.ts'
import { readMeasured } from '#relay/measured-lines.ts'
import { type Bounds, defaultBounds, type Figures, measure, measured } from '#relay/measuring.ts'
import type { Fleet } from './client.ts'
import { usage } from './failure.ts'
import { benchProgress } from './output/bench-progress.ts'
import { openTunnels } from './tunnels.ts'

/** Who measures whom, and what it may take. Without `from`, this host measures. */
export interface BenchHosts {
  readonly from?: string
  readonly to: string
  readonly bounds: Bounds
}

const longest = 600_000

/** Throws a RelayError `usage`. */
export function readHosts(
  first: string,
  second: string | undefined,
  {
    time = defaultBounds.ms,
    bytes = defaultBounds.bytes,
  }: { readonly time?: number; readonly bytes?: number },
): BenchHosts {
  if (time > longest) throw usage('bench', 'it may take ten minutes for each part at most')
  const bounds = { ms: time, bytes }
  const [a, b] = [first, second].map(word => (word === undefined ? undefined : agentOf(word)))
  return b === undefined ? { to: a!, bounds } : { from: a!, to: b, bounds }
}

function agentOf(word: string): string {
  const [, name] = /^@([a-z0-9][a-z0-9.-]*)$/i.exec(word) ?? []
  if (name === undefined)
    throw usage(`bench ${word}`, 'it names no agent', 'Write for example: fleetcat bench @edge-1 @db-1')
  return name.toLowerCase()
}

/** Rejects with a RelayError; answers an exit code instead of figures when somebody has stopped it. */
export async function runBench(
  fleet: Fleet,
  { from, to, bounds }: BenchHosts,
  stopped: Promise<number>,
): Promise<Figures | number> {
  const over = new AbortController()
  const lost = Promise.withResolvers<never>()
  lost.promise.catch(() => {})
  using shown = benchProgress()
  await using tunnels = openTunnels(fleet, {
    purpose: 'bench',
    ...(from !== undefined && { onward: measured.map(service => `@${to}/${service}`) }),
    withdrawn: why => lost.reject(why),
  })
  const measuring = async (): Promise<Figures> => {
    const { signal } = over
    if (from === undefined)
      return await measure(
        (service, each) => tunnels.open(`@${to}/${service}`, each),
        bounds,
        shown.tell,
        signal,
      )
    const address = `@${from}/BENCH:${to},time=${bounds.ms / 1_000},bytes=${bounds.bytes}`
    await using channel = await tunnels.open(address, signal)
    return await readMeasured(channel.stream, `bench @${from} @${to}`, shown.tell)
  }
  try {
    return await Promise.race([measuring(), stopped, lost.promise])
  } finally {
    over.abort(new RelayError('closed', { what: 'bench', why: 'it is over' }))
  }
}
