import { randomUUID } from 'node:crypto'
import { ChangeKind, type OperatorServiceClient, type RelayChange } from '#gen/fleetcat/v1/operator.ts'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import { unary } from '#wire/call.ts'
import { usage } from './failure.ts'
import type { Paint } from './output/colour.ts'
import { onlyAgent } from './placement.ts'
import { readRelayFiles } from './relay-file.ts'
import { flowFields } from './views/flow.ts'
import { specItem } from './views/relay.ts'
import { sharingFields } from './views/sharing.ts'

export interface Request {
  readonly files: readonly string[]
  readonly prune?: string
  readonly dryRun: boolean
}

/** Reads the files before anything is asked of the fleet, then applies them all in one call. */
export async function askForChanges(
  { files, prune, dryRun }: Request,
  withOperator: <T>(work: (operator: OperatorServiceClient) => Promise<T>) => Promise<T>,
): Promise<RelayChange[]> {
  const drafts = await readRelayFiles(files)
  if (drafts.length === 0) {
    // What made the input may have failed, and with --prune nothing would mean: revoke everything.
    throw usage(
      files.join(', ').replace(/^-$/, 'stdin'),
      'there is no relay in it',
      'To end relays: `fleetcat revoke`',
    )
  }
  return withOperator(async operator => {
    const unplaced = drafts.filter(({ spec }) => spec!.agents.length === 0 && !spec!.selector)
    if (unplaced.length > 0) {
      const agent = await onlyAgent(operator, `relay/${unplaced[0]!.name}`)
      for (const { spec } of unplaced) spec!.agents = [agent]
    }
    const request = {
      drafts,
      prune: prune !== undefined,
      pruneSelector: prune ?? '',
      requestId: randomUUID(),
      dryRun,
    }
    const what = dryRun ? 'compare the relays' : 'apply the relays'
    return (await unary(operator, operator.applyRelays, request, { what, timeoutMs: 60_000 })).changes
  })
}

export type ChangeWord = 'unchanged' | 'created' | 'updated' | 'pruned'

export function changeWord({ kind }: RelayChange): ChangeWord {
  if (kind === ChangeKind.CREATED) return 'created'
  if (kind === ChangeKind.UPDATED) return 'updated'
  return kind === ChangeKind.PRUNED ? 'pruned' : 'unchanged'
}

/** One thing that scripts read about one relay. */
export interface ChangeItem {
  readonly kind: 'RelayChange'
  readonly name: string
  readonly change: ChangeWord
  readonly fields: readonly FieldChange[]
}

export interface FieldChange {
  readonly field: string
  readonly before: string | null
  readonly after: string | null
}

export function changeItem(change: RelayChange): ChangeItem {
  const word = changeWord(change)
  const before = fields(change.before)
  const after = word === 'pruned' ? new Map<string, string>() : fields(change.after)
  const names = [...new Set([...before.keys(), ...after.keys()])]
  return {
    kind: 'RelayChange',
    name: change.name,
    change: word,
    fields: names
      .map(field => ({ field, before: before.get(field) ?? null, after: after.get(field) ?? null }))
      .filter(({ before, after }) => before !== after),
  }
}

/** All that a file can say of a relay, one line a field. */
function fields(relay: Relay | undefined): Map<string, string> {
  const found = new Map<string, string>()
  if (!relay) return found
  const { listen, targets, agents, selector, limits, balance, health, lease, ttl, windows, ...flow } =
    specItem(relay.spec)
  const put = (field: string, value: unknown) => {
    const text = Array.isArray(value) ? value.join(', ') : String(value ?? '')
    if (text) found.set(field, text)
  }
  for (const [name, value] of Object.entries({ listen, agents, selector, targets, lease, ttl, windows }))
    put(`spec.${name}`, value)
  for (const [name, value] of Object.entries(limits)) put(`spec.limits.${name}`, value)
  for (const [name, value] of [...sharingFields({ balance, health }), ...flowFields(flow)])
    put(`spec.${name}`, value)
  // Nothing else differs where a relay is only given more time.
  if (relay.expiredAt) put('status', 'expired')
  for (const [name, value] of Object.entries(relay.labels)) put(`metadata.labels.${name}`, value)
  return found
}

/** The difference as a person reads it; nothing for what stays as it is. */
export function diffText(items: readonly ChangeItem[], paint: Paint): string {
  return items
    .filter(({ change }) => change !== 'unchanged')
    .map(({ name, change, fields }) => {
      const lines = fields.flatMap(({ field, before, after }) => [
        ...(before === null ? [] : [paint(`- ${field}: ${before}`, 'red')]),
        ...(after === null ? [] : [paint(`+ ${field}: ${after}`, 'green')]),
      ])
      return `relay/${name} ${would[change]}\n${lines.map(line => `  ${line}\n`).join('')}`
    })
    .join('')
}

const would: Record<ChangeWord, string> = {
  unchanged: 'would stay as it is',
  created: 'would be created',
  updated: 'would change',
  pruned: 'would be pruned',
}
