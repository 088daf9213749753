import type { Command } from 'commander'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { collect, define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { note, usage } from '../failure.ts'
import { type OutputOptions, withOutput } from '../output/print.ts'
import { parseTarget, revocable } from '../target.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly reason?: string
  readonly lock?: number
  readonly selector?: string
  readonly kind?: string
  readonly olderThan?: number
  readonly relay?: string[]
  readonly except?: string[]
  readonly timeout: number
  readonly yes?: true
  readonly dryRun?: true
}

export function command(): Command {
  const revoke = define(
    'revoke',
    'Ends relays, connections, sources, agents and operators, now, and says for each agent what it has cut.',
    [
      'fleetcat revoke relay/web --reason "moved to the new cluster"',
      'fleetcat revoke conn/c-4fk2',
      'fleetcat revoke source/203.0.113.0/24 --lock 24h',
      'fleetcat revoke source/0.0.0.0/0 --except 10.0.0.0/8 --relay web',
      'fleetcat revoke agent/edge-1 --reason "the laptop was lost"',
      'fleetcat revoke -l site=paris --kind EXEC --older-than 8h --yes',
      'fleetcat revoke relay/web -o json | jq .receipts',
    ],
  )
    .argument('[target...]', 'relay/NAME, conn/ID, source/CIDR, agent/NAME or operator/NAME')
    .option('-l, --selector <selector>', 'every relay whose labels match; with source/CIDR: only for these')
    .option('--kind <keyword>', 'every relay that has such an address')
    .option('--older-than <duration>', 'every relay that was made longer ago', duration('--older-than'))
    .option('--relay <name>', 'with source/CIDR: shut it out of this relay only (repeatable)', collect)
    .option('--except <cidr>', 'with source/CIDR: but not this part of it (repeatable)', collect)
    .option(
      '--lock <duration>',
      'it cannot come back for so long; a source without a lock stays out until it is lifted',
      duration('--lock'),
    )
    .option('--reason <text>', 'why, for those who read the list')
  revoke
    .addOption(
      revoke
        .createOption('--timeout <duration>', 'how long to wait for the receipts')
        .argParser(duration('--timeout'))
        .default(30_000, '30s'),
    )
    .option('--yes', 'do not ask, on a terminal, before several targets are revoked')
    .option('--dry-run', 'show what would be cut, change nothing')
  return withContext(withOutput(revoke, { headers: false })).action(run)
}

function duration(option: string) {
  return (text: string) => parseDuration(text, option)
}

async function run(words: string[], options: Options): Promise<void> {
  const named = [...new Set(words.map(word => parseTarget(word, revocable).text))]
  const sources = named.filter(target => target.startsWith('source/'))
  if (sources.length < named.length && (options.relay || options.except))
    throw usage('fleetcat revoke', '--relay and --except are about sources', 'Revoke the rest by itself')
  if (sources.length > 0) {
    const { parseCidr } = await import('#relay/ip.ts')
    for (const network of [
      ...sources.map(source => source.slice('source/'.length)),
      ...(options.except ?? []),
    ])
      parseCidr(network)
  }
  const [{ withFleet }, { canAsk, confirm, preview }, { chosenRelays, isChoice }] = await Promise.all([
    import('../client.ts'),
    import('../revoke-preview.ts'),
    import('../chosen-relays.ts'),
  ])
  const choice = {
    ...(options.selector !== undefined && { selector: options.selector }),
    ...(options.kind !== undefined && { kind: options.kind }),
    ...(options.olderThan !== undefined && { olderThanMs: options.olderThan }),
  }
  if (options.selector === '')
    throw usage('fleetcat revoke -l', 'the selector is empty', 'Write for example -l team=web')
  if (named.length === 0 && !isChoice(choice))
    throw usage('fleetcat revoke', 'it does not say what', 'Name targets, e.g. relay/web, or choose with -l')
  if (isChoice(choice) && sources.length < named.length)
    throw usage(
      'fleetcat revoke',
      'it names targets and chooses relays at once',
      'Keep one; only source/CIDR goes with -l, --kind and --older-than',
    )

  await withFleet(options, async operator => {
    const chosen = isChoice(choice) ? await chosenRelays(operator, choice) : []
    const relays = [...(options.relay ?? []), ...(sources.length > 0 ? chosen : [])]
    const targets = sources.length > 0 ? named : [...named, ...chosen.map(name => `relay/${name}`)]
    const terms = {
      relays,
      ...(options.except && { except: options.except }),
      ...(options.reason !== undefined && { reason: options.reason }),
      ...(options.lock !== undefined && { lockMs: options.lock }),
    }
    const asList = targets.length > 1 || (isChoice(choice) && sources.length === 0)
    if (options.dryRun) return void (await preview(operator, targets, terms, { ...options, asList }))
    // Who chooses by a selector sees first what it has found.
    if ((targets.length > 1 || isChoice(choice)) && !options.yes && canAsk()) {
      const changing = await preview(operator, targets, terms, { output: 'table', asList })
      if (changing > 0) await confirm(changing)
    }
    await revokeAll(operator, targets, terms, { ...options, asList })
  })
}

const notDurable = (target: string) =>
  `${target} is revoked, but not yet durable: the controller cannot write to its disk, and writes it as soon as it can. ` +
  'If it stops before that, it forgets the order: see `fleetcat revocations -o json`, and make room on its disk'

async function revokeAll(
  operator: OperatorServiceClient,
  targets: readonly string[],
  terms: import('../revoking.ts').Terms,
  { timeout, output, asList }: Options & { readonly asList: boolean },
): Promise<void> {
  const [{ giveOrder }, { exitCodeFor, untilJudged }, { openVerdictDisplay }] = await Promise.all([
    import('../revoking.ts'),
    import('../verdicts.ts'),
    import('../verdict-display.ts'),
  ])
  const given = await Promise.allSettled(targets.map(target => giveOrder(operator, target, terms, false)))
  const orders = new Map(
    given.flatMap(each => (each.status === 'fulfilled' ? [[each.value.item.id, each.value] as const] : [])),
  )
  if (orders.size > 0) {
    using display = openVerdictDisplay(output, { asList })
    const said = (id: string) => (orders.get(id)?.unchanged ? 'already revoked' : 'revoked')
    const followed = await untilJudged(operator, [...orders.keys()], timeout, revocation =>
      display.show({ revocation, said: said(revocation.id), overdue: false }),
    )
    await display.finish(followed.map(each => ({ ...each, said: said(each.revocation.id) })))
    for (const { revocation } of followed) if (!revocation.durable) note(notDurable(revocation.target))
    process.exitCode = Math.max(...followed.map(each => exitCodeFor(each)))
  }
  const failures = given.filter(each => each.status === 'rejected').map(({ reason }) => reason)
  if (failures.length > 0) throw failures.length === 1 ? failures[0] : new AggregateError(failures)
}
