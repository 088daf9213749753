import type { Command } from 'commander'
import type { AuditFilter } from '../audit-rows.ts'
import { define, isComparison, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { usage } from '../failure.ts'
import { choice, count } from '../option-values.ts'
import { type OutputOptions, print, printList, renderList, withOutput } from '../output/print.ts'

interface FilterOptions {
  readonly context?: string
  readonly since?: number
  readonly by?: string
  readonly event?: string
  readonly target?: string
  readonly follow?: true
}

interface Options extends FilterOptions, OutputOptions {
  readonly last?: number
}

/** Of a log of years a person wants the end. */
const usualRows = 100

export function command(): Command {
  return (
    withContext(
      withOutput(
        withFilter(
          define('audit', 'Who did what in the fleet, from where and why, and what was refused.', [
            'fleetcat audit',
            'fleetcat audit -f',
            'fleetcat audit --since 24h --by ann -o jsonl',
            'fleetcat audit verify',
            'fleetcat audit export --format rfc5424 --since 30d',
          ]),
        ).option(
          '-n, --last <rows>',
          `only the last so many (default: ${usualRows}, or all since)`,
          count('--last'),
        ),
      ),
    )
      // What stands behind `verify` is for verify, though `audit` has an option of the same name.
      .enablePositionalOptions()
      .action(show)
      .addCommand(verifyCommand())
      .addCommand(exportCommand())
  )
}

function withFilter(command: Command): Command {
  return command
    .option('-f, --follow', 'then each new row, as it is written')
    .option('--since <duration>', 'only the rows of the last 1h, 7d, …', text =>
      parseDuration(text, '--since'),
    )
    .option('--by <who>', 'only what this operator or agent did: ann, or operator/ann')
    .option('--event <event>', 'only this event, relay.created, or this family of events, relay')
    .option('--target <target>', 'only what is about this: relay/NAME, agent/NAME, …')
}

function filterOf({ since, by, event, target }: FilterOptions): AuditFilter {
  return {
    ...(since !== undefined && { since: new Date(Date.now() - since) }),
    ...(by !== undefined && { by }),
    ...(event !== undefined && { event }),
    ...(target !== undefined && { target }),
  }
}

async function show(options: Options): Promise<void> {
  const last = options.last ?? (options.since === undefined ? usualRows : undefined)
  const filter = { ...filterOf(options), ...(last !== undefined && { last }) }
  if (options.follow) return follow(options, filter)
  const [{ readRows }, { auditItem, auditLog }] = await Promise.all([
    import('../audit-rows.ts'),
    import('../views/audit.ts'),
  ])
  const { by = '', event = '', target = '' } = options
  await readRows(options, filter, async (_, pages) => {
    const items = []
    for await (const rows of pages) items.push(...rows.map(auditItem))
    await printList(items, auditLog, options, {
      filtered: `${by}${event}${target}` !== '' || items.length > 0,
    })
  })
}

async function follow(options: Options, filter: AuditFilter): Promise<void> {
  if (options.output === 'json') {
    throw usage(
      'fleetcat audit -f -o json',
      'one JSON text has to end',
      'Write -o jsonl: a line for each row',
    )
  }
  const [{ followRows }, { auditItem, followedLog }] = await Promise.all([
    import('../audit-rows.ts'),
    import('../views/audit.ts'),
  ])
  let headers = options.headers
  for await (const { rows } of followRows(options, filter)) {
    const text = await renderList(rows.map(auditItem), followedLog, { ...options, headers })
    print(options.output === 'yaml' ? `---\n${text}` : text)
    headers = false
  }
}

function verifyCommand(): Command {
  const verify = define(
    'verify',
    'Whether every row is as it was written, and none is missing: exit code 0, or 1 with the first that is not. Note ' +
      'the head somewhere else: with --head, a log that was cut off or written anew is found too.',
    [
      'fleetcat audit verify',
      'fleetcat audit verify --head 4711:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      'fleetcat audit verify --data /backup/controller',
    ],
  )
    .option('--head <number:hash>', 'a head that an earlier verify printed', text => text)
    .option('--data <dir>', 'ask no controller, but read the data directory of a stopped one, or a copy')
  return isComparison(withContext(withOutput(verify, { headers: false }))).action(
    async ({ head, ...options }: OutputOptions & { context?: string; data?: string; head?: string }) => {
      const { parseLink, verify } = await import('../audit-verify.ts')
      await verify({ ...options, ...(head !== undefined && { head: parseLink(head) }) })
    },
  )
}

function exportCommand(): Command {
  const command = withFilter(
    define('export', 'The rows as lines that other systems read, oldest first, on stdout.', [
      'fleetcat audit export --format jsonl > audit.jsonl',
      'fleetcat audit export --format cef --since 24h',
      'fleetcat audit export --format rfc5424 -f',
    ]),
  )
  return withContext(
    command.addOption(
      choice(command, '--format <format>', 'how a row is written', ['jsonl', 'rfc5424', 'cef']).default(
        'jsonl',
      ),
    ),
  ).action(async (options: FilterOptions & { format: 'jsonl' | 'rfc5424' | 'cef' }) => {
    const { exportRows } = await import('../audit-export.ts')
    await exportRows(options, filterOf(options))
  })
}
