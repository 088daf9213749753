import type { Command } from 'commander'
import type { ChangeItem } from '../changes.ts'
import { collect, define, withContext } from '../command.ts'
import { usage } from '../failure.ts'
import { type OutputOptions, type Presentation, print, renderList, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly file: string[]
  readonly prune?: true
  readonly selector?: string
  readonly dryRun?: true
}

export function command(): Command {
  return withContext(
    withOutput(
      define('apply', 'Makes the fleet’s relays as files describe them: creates, changes, leaves alone.', [
        'fleetcat apply -f relays.yaml',
        'fleetcat apply -f relays/ --prune -l team=web',
        'fleetcat export | fleetcat apply -f - --dry-run',
      ])
        .requiredOption(
          '-f, --file <file>',
          'a file, a directory of *.yaml, or - for stdin (repeatable)',
          collect,
        )
        .option('--prune', 'revoke relays that match -l and are in no file')
        .option('-l, --selector <selector>', 'which relays --prune may revoke')
        .option('--dry-run', 'say what would change, change nothing'),
      { headers: false },
    ),
  ).action(apply)
}

async function apply(options: Options): Promise<void> {
  const { prune, selector, dryRun = false } = options
  if (prune && !selector) {
    throw usage('fleetcat apply', '--prune needs a selector', 'Say which relays it may revoke: -l SELECTOR')
  }
  if (selector && !prune) throw usage('fleetcat apply', '-l only says what --prune may revoke', 'Add --prune')
  const [{ askForChanges, changeItem }, { withFleet }] = await Promise.all([
    import('../changes.ts'),
    import('../client.ts'),
  ])
  const request = { files: options.file, dryRun, ...(selector && { prune: selector }) }
  const changes = await askForChanges(request, work => withFleet(options, work))
  print(await rendered(changes.map(changeItem), options))
}

async function rendered(items: readonly ChangeItem[], options: Options): Promise<string> {
  if (options.output !== 'table' && options.output !== 'wide') return renderList(items, presentation, options)
  const suffix = options.dryRun ? ' (dry run)' : ''
  return items.map(({ name, change }) => `relay/${name} ${change}${suffix}\n`).join('')
}

const presentation: Presentation<ChangeItem> = {
  listKind: 'RelayChangeList',
  none: 'The files hold no relay.',
  name: item => `relay/${item.name}`,
  key: item => item.name,
  columns: [],
}
