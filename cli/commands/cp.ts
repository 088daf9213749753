import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import type { CopyOptions } from '../copy-sides.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'

interface Options extends OutputOptions, CopyOptions {
  readonly context?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define(
        'cp',
        'Copies a file or a directory to an agent, from one, or from one to another, through encrypted tunnels. Modes, ' +
          'times and links are kept. Every file is checked by its SHA-256, and the target gets its name when all is there.',
        [
          'fleetcat cp site @web-1:/srv/in/',
          'fleetcat cp @db-1:/var/log/postgresql logs --resume',
          'fleetcat cp @a:/srv/image.raw @b:/srv/image.raw',
        ],
      )
        .argument('<src>', 'a path on this host, or @AGENT:/path')
        .argument(
          '<target>',
          'the same; into it if it is a directory. With a slash behind it, into it in any case',
        )
        .option(
          '-T, --exact',
          'the target is the copy itself, also where a directory has its name: it is merged',
        )
        .option(
          '--resume',
          'skip what is there and the same, and keep what has come when it breaks off, for the next try',
        )
        .option('--dry-run', 'list what would be made and what replaced, and copy nothing')
        .option('--special-bits', 'keep setuid, setgid and sticky bits, which are dropped otherwise'),
      { headers: false },
    ),
  ).action(copy)
}

/** So many entries that were left out are named; of more there is the number, and `-o json` has them all. */
const mostNamed = 10

async function copy(source: string, target: string, options: Options): Promise<void> {
  const { planCopy } = await import('../copy-sides.ts')
  const plan = planCopy(source, target, options)
  const [{ withFleet }, { openTunnels }, { runCopy }, { copyProgress }, views, { note }, { exitCodes }] =
    await Promise.all([
      import('../client.ts'),
      import('../tunnels.ts'),
      import('../copying.ts'),
      import('../output/copy-progress.ts'),
      import('../views/copy.ts'),
      import('../failure.ts'),
      import('../exit-codes.ts'),
    ])
  const { stoppable } = await import('../stoppable.ts')
  const outcome = await withFleet(options, async (_, fleet) => {
    using stop = stoppable('the copy')
    await using tunnels = openTunnels(fleet, { purpose: 'cp', withdrawn: stop.abort })
    using line = copyProgress()
    return await runCopy(plan, { open: tunnels.open, signal: stop.signal, progress: line.show }).catch(
      error => {
        if (!stop.wasAsked()) throw error
        process.exitCode = exitCodes.interrupted
      },
    )
  })
  if (!outcome) return note('fleetcat: interrupted: nothing has got its name by halves')
  const item = views.copyItem(plan, outcome, options.dryRun ?? false)
  print(await renderItem(item, views.shownPath(item.target), options.output, () => views.describeCopy(item)))
  for (const { path, why } of item.refused.slice(0, mostNamed)) note(`fleetcat: left out: ${path}: ${why}`)
  const unnamed = item.refused.length - mostNamed
  if (unnamed > 0) note(`fleetcat: left out: ${unnamed} more`)
  if (item.refused.length > 0) process.exitCode = exitCodes.partial
}
