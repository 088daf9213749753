import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'
import { parseSize } from '../size.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly time?: number
  readonly bytes?: number
}

export function command(): Command {
  return withContext(
    withOutput(
      define(
        'bench',
        'Measures the way between two hosts through a tunnel: how much goes each way, and how long an answer takes when ' +
          'nothing else is on the way. With one agent, from this host to it. What each part may take is bounded.',
        [
          'fleetcat bench @edge-1 @db-1',
          'fleetcat bench @db-1 --time 10s --bytes 4GiB',
          "fleetcat bench @edge-1 @db-1 -o json | jq '.received.bytesPerSecond'",
        ],
      )
        .argument('<from>', '@AGENT that measures, or is measured from here')
        .argument('[to]', '@AGENT that is measured')
        .option('--time <duration>', 'how long each of the three parts takes at most (default: 3s)', text =>
          parseDuration(text, '--time'),
        )
        .option('--bytes <size>', 'how much each part carries at most (default: 1GiB)', text =>
          parseSize(text, '--bytes'),
        ),
      { headers: false },
    ),
  ).action(bench)
}

async function bench(from: string, to: string | undefined, options: Options): Promise<void> {
  const [{ withFleet }, { readHosts, runBench }, { stopRequests }, { benchItem, describeBench }] =
    await Promise.all([
      import('../client.ts'),
      import('../benching.ts'),
      import('../signals.ts'),
      import('../views/bench.ts'),
    ])
  const hosts = readHosts(from, to, options)
  await withFleet(options, async (_, fleet) => {
    using stop = stopRequests()
    const outcome = await runBench(fleet, hosts, stop.asked)
    if (typeof outcome === 'number') process.exitCode = outcome
    else {
      const item = benchItem(hosts, outcome)
      print(await renderItem(item, `${item.from} ${item.to}`, options.output, () => describeBench(item)))
    }
  })
}
