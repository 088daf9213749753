import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly wait?: number
}

export function command(): Command {
  return withContext(
    withOutput(
      define('status', 'Whether the controller answers, and what it runs.', [
        'fleetcat status',
        'fleetcat status --wait 30s && fleetcat apply -f relays.yaml',
      ]).option('--wait <duration>', 'wait so long for it, and under `up` for its agent', text =>
        parseDuration(text, '--wait'),
      ),
      { headers: false },
    ),
  ).action(status)
}

async function status(options: Options): Promise<void> {
  const { fleetStatus, untilAnswered } = await import('../fleet-status.ts')
  const item = await (options.wait === undefined
    ? fleetStatus(options)
    : untilAnswered(options, options.wait))
  const { describeStatus } = await import('../views/status.ts')
  print(await renderItem(item, `cluster/${item.cluster}`, options.output, () => describeStatus(item)))
}
