import type { Command } from 'commander'
import { define, withContext } from '../command.ts'

interface Options {
  readonly context?: string
  readonly quiet?: true
}

export function command(): Command {
  return withContext(
    define(
      'forward',
      'Lets programs on this host reach an address on another, through an encrypted tunnel, until you press Ctrl-C. ' +
        'A port alone listens on 127.0.0.1. The tunnel is opened anew when it is lost.',
      [
        'fleetcat forward 15432 @db-1/TCP4:127.0.0.1:5432',
        'fleetcat forward UNIX-LISTEN:/tmp/docker.sock,fork @build-7/UNIX-CONNECT:/var/run/docker.sock',
        'fleetcat forward 15432 @db-1/TCP4:127.0.0.1:5432 18080 @web-1/TCP4:127.0.0.1:80',
      ],
    )
      .argument('<addresses...>', 'LISTEN and @AGENT/ADDRESS, once or several times')
      .option('-q, --quiet', 'say nothing of each connection'),
  ).action(forward)
}

async function forward(words: string[], options: Options): Promise<void> {
  const [{ withFleet }, { readPairs, runForwards }, { stopRequests }] = await Promise.all([
    import('../client.ts'),
    import('../forwarding.ts'),
    import('../signals.ts'),
  ])
  const pairs = readPairs(words)
  await withFleet(options, async (_, fleet) => {
    using stop = stopRequests()
    process.exitCode = await runForwards(fleet, pairs, { stopped: stop.asked, quiet: options.quiet ?? false })
  })
}
