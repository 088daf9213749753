import type { Command } from 'commander'
import { collect, define, withContext } from '../command.ts'

interface Options {
  readonly context?: string
  readonly tee?: string[]
}

export function command(): Command {
  return withContext(
    define(
      'pipe',
      'Joins standard input and output with an address on another host, through an encrypted tunnel. It ends when ' +
        'the other side has ended; what it cannot do it says on stderr and with its exit code.',
      [
        'echo ping | fleetcat pipe @db-1/TCP4:127.0.0.1:7',
        "ssh -o ProxyCommand='fleetcat pipe @db-1/TCP4:127.0.0.1:22' db-1",
        'app | fleetcat pipe --tee OPEN:local.log,append,creat @logs/TCP4:127.0.0.1:5140',
      ],
    )
      .argument('<address>', '@AGENT/ADDRESS')
      .option(
        '--tee <address>',
        'gets a copy of what comes from standard input, on this host (repeatable)',
        collect,
      ),
  ).action(pipe)
}

async function pipe(address: string, options: Options): Promise<void> {
  const [{ withFleet }, { runPipe }, { stopRequests }] = await Promise.all([
    import('../client.ts'),
    import('../piping.ts'),
    import('../signals.ts'),
  ])
  await withFleet(options, async (_, fleet) => {
    using stop = stopRequests()
    process.exitCode = await runPipe(fleet, address, { stopped: stop.asked, tee: options.tee ?? [] })
  })
}
