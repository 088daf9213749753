import type { TokenView } from '#gen/fleetcat/v1/operator.ts'
import type { Presentation } from '../output/print.ts'
import { until } from '../output/time.ts'
import { labelText, time } from './words.ts'

export interface TokenItem {
  readonly kind: 'Token'
  readonly id: string
  /** What it enrols: `agent` or `operator`. */
  readonly for: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly role: string
  readonly expiresAt: string | null
  readonly uses: number
  readonly used: number
  readonly createdBy: string
  readonly createdAt: string | null
  readonly state: string
}

export function tokenItem(view: TokenView, now = Date.now()): TokenItem {
  return {
    kind: 'Token',
    id: view.id,
    for: view.kind,
    name: view.name,
    labels: view.labels,
    role: view.role,
    expiresAt: time(view.expiresAt),
    uses: view.uses,
    used: view.used,
    createdBy: view.createdBy,
    createdAt: time(view.createdAt),
    state: stateOf(view, now),
  }
}

function stateOf({ revoked, uses, used, expiresAt }: TokenView, now: number): string {
  if (revoked) return 'revoked'
  if (used >= uses) return 'done'
  return expiresAt && expiresAt.getTime() <= now ? 'expired' : 'ready'
}

export const tokens: Presentation<TokenItem> = {
  listKind: 'TokenList',
  none: 'No token.',
  name: item => `token/${item.id}`,
  key: item => item.id,
  columns: [
    { title: 'ID', cell: item => item.id },
    { title: 'FOR', cell: item => item.for },
    { title: 'NAME', cell: item => item.name },
    { title: 'ROLE', cell: item => item.role },
    { title: 'LABELS', cell: item => labelText(item.labels) },
    { title: 'USED', cell: item => `${item.used}/${item.uses}`, right: true },
    { title: 'EXPIRES', cell: (item, now) => until(item.expiresAt, now), right: true },
    { title: 'STATE', cell: item => item.state },
    { title: 'BY', wide: true, cell: item => item.createdBy },
  ],
}
