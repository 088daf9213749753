import { formatDuration } from '../duration.ts'
import type { Presentation } from '../output/print.ts'
import type { Given, Terms } from '../revoking.ts'
import { clock, count } from './revocation.ts'

/** What an order would do, if it were given now. */
export interface PreviewItem {
  readonly kind: 'RevocationPreview'
  readonly target: string
  /** It is revoked already, and nothing would change. */
  readonly unchanged: boolean
  /** The agents that would have to cut. */
  readonly agents: readonly string[]
  /** Those of them that are out of reach, and by when they would have let go. */
  readonly outOfReach: readonly { readonly agent: string; readonly fencedBy: string | null }[]
  readonly connections: number
  readonly relays: readonly string[]
  readonly except: readonly string[]
}

export function previewItem({ item, unchanged, connections }: Given): PreviewItem {
  const { target, receipts, relays, except } = item
  return {
    kind: 'RevocationPreview',
    target,
    unchanged,
    agents: receipts.map(({ agent }) => agent),
    outOfReach: unchanged
      ? []
      : receipts
          .filter(({ verdict }) => verdict === 'fenced')
          .map(({ agent, fencedBy }) => ({ agent, fencedBy })),
    connections,
    relays,
    except,
  }
}

export const previews: Presentation<PreviewItem> = {
  listKind: 'RevocationPreviewList',
  none: 'Nothing would be revoked.',
  name: ({ target }) => target,
  key: ({ target }) => target,
  columns: [
    { title: 'TARGET', cell: ({ target }) => target },
    { title: 'AGENTS', cell: ({ agents }) => agents.join(',') },
    { title: 'CONNS', cell: ({ connections }) => String(connections), right: true },
  ],
}

/** More than that nobody reads before an answer. */
const mostLines = 12
const mostNames = 5

/** A sentence for each; of many the sum, and those with the most connections. */
export function previewText(items: readonly PreviewItem[], terms: Terms): string {
  if (items.length <= mostLines) return items.map(item => `${sentence(item, terms)}\n`).join('')
  const changed = items.filter(({ unchanged }) => !unchanged)
  const agents = new Set(changed.flatMap(item => item.agents))
  const sum = changed.reduce((total, { connections }) => total + connections, 0)
  const away = new Set(changed.flatMap(({ outOfReach }) => outOfReach.map(({ agent }) => agent)))
  const already = items.length - changed.length
  const lines = [
    `${many(changed)} would be revoked on ${count(agents.size, 'agent')}, cutting ${count(sum, 'connection')}${lockText(terms)}`,
    ...(away.size > 0
      ? [`${count(away.size, 'agent')} of them out of reach: they let go when their leases end`]
      : []),
    ...(already > 0 ? [`${already} more revoked already`] : []),
    ...busiest(changed).map(({ target, connections }) => `  ${target}  ${count(connections, 'connection')}`),
    `  … ${changed.length - busiest(changed).length} more; \`--dry-run -o name\` shows all`,
  ]
  return lines.map(line => `${line}\n`).join('')
}

const busiest = (items: readonly PreviewItem[]) =>
  [...items].sort((a, b) => b.connections - a.connections).slice(0, mostNames)

const many = (items: readonly PreviewItem[]) =>
  count(items.length, items.every(({ target }) => target.startsWith('relay/')) ? 'relay' : 'target')

function sentence(item: PreviewItem, terms: Terms): string {
  const { target, connections } = item
  const cutting = `cutting ${count(connections, 'connection')}`
  const kind = target.slice(0, target.indexOf('/'))
  const agents = item.agents.length === 0 ? 'no agent' : names(item.agents)
  if (item.unchanged) return `${target} is ${kind === 'source' ? 'shut out' : 'revoked'} already`
  if (kind === 'operator')
    return `${target} would be revoked: no certificate of theirs is let in any more${lockText(terms)}`
  if (kind === 'source')
    return `${target} would be shut out of ${relayNames(item)}${butFor(item)} on ${agents}, ${cutting}, ${
      terms.lockMs === undefined ? 'until it is lifted' : `for ${formatDuration(terms.lockMs)}`
    }${awayText(item)}`
  if (kind === 'agent')
    return `${target} would be revoked for good: its certificates are refused and all that it runs ends, ${cutting}${lockText(terms)}${awayText(item)}`
  return `${target} would be revoked on ${agents}, ${cutting}${lockText(terms)}${awayText(item)}`
}

const lockText = ({ lockMs }: Terms) =>
  lockMs === undefined ? '' : `, and locked for ${formatDuration(lockMs)}`

const relayNames = ({ relays }: PreviewItem) =>
  relays.length === 0 ? 'every relay' : names(relays.map(name => `relay/${name}`))

const butFor = ({ except }: PreviewItem) => (except.length > 0 ? `, but for ${names(except)},` : '')

/** `edge-1, edge-2 and 3 more`. */
const names = (all: readonly string[]) =>
  all.length <= mostNames
    ? all.join(', ')
    : `${all.slice(0, mostNames - 1).join(', ')} and ${all.length - mostNames + 1} more`

function awayText({ agents, outOfReach }: PreviewItem): string {
  const ends = outOfReach.flatMap(({ fencedBy }) => fencedBy ?? []).sort()
  const last = ends.at(-1)
  if (last === undefined) return ''
  const who =
    outOfReach.length === agents.length ? names(agents) : names(outOfReach.map(({ agent }) => agent))
  const [is, has, lets] = outOfReach.length === 1 ? ['is', 'has', 'lets'] : ['are', 'have', 'let']
  const when = Date.parse(last) <= Date.now() ? `${has} let go since` : `${lets} go by`
  return `; ${who} ${is} out of reach, and ${when} ${clock(last)}`
}
