import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { report } from '../failure.ts'
import { type OutputOptions, print, withOutput } from '../output/print.ts'
import { parseTarget, revocable } from '../target.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly reason?: string
  readonly timeout: number
  readonly yes?: true
  readonly dryRun?: true
}

export function command(): Command {
  const revoke = define(
    'revoke',
    'Ends relays, connections, agents and operators, now, and says for each agent what it has cut.',
    [
      'fleetcat revoke relay/web --reason "moved to the new cluster"',
      'fleetcat revoke conn/c-4fk2',
      'fleetcat revoke agent/edge-1 --reason "the laptop was lost"',
      'fleetcat revoke relay/web -o json | jq .receipts',
    ],
  )
    .argument('<target...>', 'relay/NAME, conn/ID, agent/NAME or operator/NAME')
    .option('--reason <text>', 'why, for those who read the list')
  revoke
    .addOption(
      revoke
        .createOption('--timeout <duration>', 'how long to wait for the receipts')
        .argParser(text => parseDuration(text, '--timeout'))
        .default(30_000, '30s'),
    )
    .option('--yes', 'do not ask, on a terminal, before several targets are revoked')
    .option('--dry-run', 'show what would be cut, change nothing')
  return withContext(withOutput(revoke, { headers: false })).action(run)
}

async function run(words: string[], options: Options): Promise<void> {
  const targets = [...new Set(words.map(word => parseTarget(word, revocable).text))]
  const [{ withFleet }, verdicts] = await Promise.all([import('../client.ts'), import('../verdicts.ts')])
  await withFleet(options, async operator => {
    if (options.dryRun) return preview(operator, targets, options)
    if (targets.length > 1 && !options.yes && (await asks())) {
      await preview(operator, targets, options)
      await confirm(targets.length)
    }
    const results = await Promise.allSettled(
      targets.map(async target => {
        const { id, unchanged } = await order(operator, target, options)
        const followed = await verdicts.untilJudged(operator, id, options.timeout)
        return { ...followed, said: unchanged ? 'already revoked' : 'revoked' }
      }),
    )
    const done = results.filter(result => result.status === 'fulfilled').map(({ value }) => value)
    await verdicts.showVerdicts(done, options.output)
    const failures = results.filter(result => result.status === 'rejected').map(({ reason }) => reason)
    if (failures.length === 0) return
    for (const failure of failures.slice(1)) await report(failure, 'fleetcat revoke')
    throw failures[0]
  })
}

/** Answers the order's id. The controller has it on disk by then. */
async function order(operator: OperatorServiceClient, target: string, options: Options) {
  const { unary } = await import('#wire/call.ts')
  const request = {
    target,
    reason: options.reason ?? '',
    requestId: randomUUID(),
    dryRun: options.dryRun ?? false,
  }
  const answer = await unary(operator, operator.revoke, request, { what: `revoke ${target}` })
  const { revocation } = answer.revocation ?? {}
  return { id: revocation?.id ?? '', agents: revocation?.agents ?? [], unchanged: answer.unchanged, answer }
}

async function preview(operator: OperatorServiceClient, targets: string[], options: Options): Promise<void> {
  const [{ revocationItem, revocations, count }, { renderItem, renderList }] = await Promise.all([
    import('../views/revocation.ts'),
    import('../output/print.ts'),
  ])
  const orders = await Promise.all(
    targets.map(async target => {
      const { answer, agents, unchanged } = await order(operator, target, { ...options, dryRun: true })
      const cut = unchanged ? 0 : await connectionsOf(operator, target)
      const line = unchanged
        ? `${target} is revoked already\n`
        : `${target} would be revoked on ${agents.join(', ') || 'no agent'}, cutting ${count(cut, 'connection')}\n`
      return { item: revocationItem(answer.revocation ?? { revocation: undefined, verdicts: [] }), line }
    }),
  )
  const human = () => orders.map(({ line }) => line).join('')
  const [first] = orders
  if (options.output === 'table' || options.output === 'wide') print(human())
  else if (orders.length === 1 && first)
    print(await renderItem(first.item, revocations.name(first.item), options.output, human))
  else
    print(
      await renderList(
        orders.map(({ item }) => item),
        revocations,
        options,
      ),
    )
}

async function connectionsOf(operator: OperatorServiceClient, target: string): Promise<number> {
  const { unary } = await import('#wire/call.ts')
  const { kind, id } = parseTarget(target, revocable)
  if (kind === 'operator') return 0
  const filter = { relay: '', agent: '', source: '', id: '', [kind === 'conn' ? 'id' : kind]: id }
  const answer = await unary(operator, operator.listConnections, { filter }, { what: 'list the connections' })
  return answer.connections.length
}

/** A script cannot answer, and has said what it wants. */
const asks = async () => Boolean(process.stdin.isTTY && process.stderr.isTTY)

async function confirm(n: number): Promise<void> {
  const { createInterface } = await import('node:readline/promises')
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  ask.on('SIGINT', () => process.exit(130))
  const answer = await ask.question(`Revoke these ${n}? [y/N] `)
  ask.close()
  if (!/^y(es)?$/i.test(answer.trim())) {
    throw new RelayError('closed', {
      what: 'fleetcat revoke',
      why: 'it was not confirmed, and nothing was revoked',
    })
  }
}
