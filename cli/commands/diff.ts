import type { Command } from 'commander'
import { sanitise } from '#telemetry/sanitise.ts'
import { collect, define, isComparison, withContext } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { painter } from '../output/colour.ts'
import { print } from '../output/print.ts'

interface Options {
  readonly context?: string
  readonly file: string[]
}

export function command(): Command {
  return isComparison(
    withContext(
      define(
        'diff',
        'What apply would change. Exits with 0 if nothing, 1 if something, above 1 on an error.',
        [
          'fleetcat diff -f relays.yaml',
          'fleetcat diff -f relays/; test $? -eq 1 && fleetcat apply -f relays/',
        ],
      ).requiredOption(
        '-f, --file <file>',
        'a file, a directory of *.yaml, or - for stdin (repeatable)',
        collect,
      ),
    ),
  ).action(diff)
}

async function diff(options: Options): Promise<void> {
  const [{ askForChanges, changeItem, diffText }, { withFleet }] = await Promise.all([
    import('../changes.ts'),
    import('../client.ts'),
  ])
  const request = { files: options.file, dryRun: true }
  const changes = await askForChanges(request, work => withFleet(options, work))
  const items = changes.map(changeItem)
  const paint = painter(process.stdout)
  print(diffText(items, (text, colour) => paint(sanitise(text, 4_096), colour)))
  if (items.some(({ change }) => change !== 'unchanged')) process.exitCode = exitCodes.failed
}
