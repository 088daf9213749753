import type { Command } from 'commander'
import { collect, define, isComparison, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { usage } from '../failure.ts'
import { type OutputOptions, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly on?: string[]
  readonly selector?: string
  readonly timeout?: number
  readonly every?: number
  readonly expectByte?: true
}

const defaultTimeoutMs = 2_000
const shortestEveryMs = 1_000

export function command(): Command {
  const probe = define(
    'probe',
    'Has agents open an address once, inside their ceilings, and says what each of them saw. Exit code 0: open everywhere; ' +
      '1: somewhere not; 6: some agents did not answer; above 1 also if nobody could be asked.',
    [
      'fleetcat probe TCP4:db.example:5432 -l site=paris',
      'fleetcat probe OPENSSL:api.example:443 --on edge-1 --on edge-2 --timeout 500ms -o json',
      'fleetcat probe TCP4:mail.example:25 -l role=mail --expect-byte --every 30s',
    ],
  )
    .argument('<address>', 'the target, as a relay would have it: TCP4:db.example:5432')
    .option('--on <agent>', 'from this agent (repeatable)', collect)
    .option('-l, --selector <selector>', 'from all agents that match, e.g. site=paris')
    .option('--timeout <duration>', 'for all that each agent does, 10ms to 10s (default: 2s)', text =>
      parseDuration(text, '--timeout'),
    )
    .option('--expect-byte', 'open is not enough: the server has to say something by itself')
    .option('--every <duration>', 'again and again, until Ctrl-C: 30s', every)
  return isComparison(withContext(withOutput(probe)).action(run))
}

function every(text: string): number {
  const ms = parseDuration(text, '--every')
  if (ms >= shortestEveryMs) return ms
  throw usage(`--every ${text}`, 'the shortest is 1s', 'Write for example --every 30s')
}

async function run(address: string, options: Options): Promise<void> {
  const { on = [], selector = '', timeout = defaultTimeoutMs, expectByte = false } = options
  if (on.length > 0 && selector) {
    const why = 'both --on and -l are given'
    throw usage('fleetcat probe', why, 'Name the agents with --on, or find them with -l')
  }
  await check(address, timeout)
  const [{ withFleet }, { onlyAgent }, { probeOnce, exitCodeFor }, { openProbeDisplay }, { toDuration }] =
    await Promise.all([
      import('../client.ts'),
      import('../placement.ts'),
      import('../probing.ts'),
      import('../probe-display.ts'),
      import('#wire/duration.ts'),
    ])
  const { formatDuration } = await import('../duration.ts')
  const title = options.every && `${address} every ${formatDuration(options.every)}`
  using display = openProbeDisplay(options, title || undefined)
  const round = () =>
    withFleet(options, async operator => {
      const agents = on.length === 0 && !selector ? [await onlyAgent(operator, `probe ${address}`)] : on
      const request = { address, agents, selector, timeout: toDuration(timeout), expectByte }
      const items = await probeOnce(operator, request, display)
      await display.finish(items)
      process.exitCode = exitCodeFor(items)
    })
  await round()
  if (options.every) await (await import('../again.ts')).again(options.every, round, display.notice)
}

/** What the controller would refuse needs none to be found out. */
async function check(address: string, timeoutMs: number): Promise<void> {
  const [{ bindProbed }, { shortestProbeMs, longestProbeMs }] = await Promise.all([
    import('#relay/endpoints/index.ts'),
    import('#wire/probe.ts'),
  ])
  bindProbed(address)
  if (timeoutMs >= shortestProbeMs && timeoutMs <= longestProbeMs) return
  const why = `it is not between ${shortestProbeMs}ms and ${longestProbeMs / 1_000}s`
  throw usage(`--timeout ${timeoutMs}ms`, why, 'Write for example --timeout 2s')
}
