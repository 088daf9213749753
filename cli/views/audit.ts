import type { AuditRow } from '#gen/fleetcat/v1/operator.ts'
import { type ChainRow, hex } from '#telemetry/audit/chain.ts'
import { type AuditEntry, decodeRecord } from '#telemetry/audit/record.ts'
import type { Colour } from '../output/colour.ts'
import type { Presentation } from '../output/print.ts'
import type { Column } from '../output/table.ts'

export interface AuditItem {
  readonly kind: 'AuditEntry'
  readonly seq: number
  readonly at: string
  readonly event: string
  /** `done`, `refused` or `alert`. */
  readonly outcome: string
  readonly by: string
  readonly from: string | null
  readonly target: string | null
  readonly reason: string
  readonly words: string
  readonly details: Readonly<Record<string, unknown>>
  /** SHA-256 over this row and the hash of the one before. */
  readonly hash: string
}

export const chainRow = ({ seq, atMs, record, hash }: AuditRow): ChainRow => ({
  seq,
  at: Number(atMs),
  bytes: record,
  hash,
})

export function auditEntry({ seq, at, bytes, hash }: ChainRow): AuditEntry {
  // A row that was tampered with may have any time; it has to be shown all the same.
  const date = new Date(at)
  return {
    ...decodeRecord(bytes),
    seq,
    at: Number.isNaN(date.getTime()) ? new Date(0) : date,
    hash: hex(hash),
  }
}

export function auditItem(row: ChainRow): AuditItem {
  const { seq, at, event, outcome, by, from, target, reason, words, details, hash } = auditEntry(row)
  return {
    kind: 'AuditEntry',
    seq: Number(seq),
    at: at.toISOString(),
    event,
    outcome,
    by,
    from: from || null,
    target: target || null,
    reason,
    words,
    details,
    hash,
  }
}

const colours: Record<string, Colour> = { refused: 'red', alert: 'yellow' }

/** What a person reads of the details: what the other columns do not say. */
const said = ({ details, words, outcome }: AuditItem) =>
  outcome !== 'done' && typeof details.why === 'string' ? `${words}: ${details.why}` : words

const columns: readonly Column<AuditItem>[] = [
  { title: 'SEQ', cell: item => String(item.seq), right: true },
  { title: 'TIME', cell: item => item.at },
  { title: 'BY', cell: item => item.by },
  { title: 'FROM', wide: true, cell: item => item.from ?? '' },
  { title: 'EVENT', cell: item => item.event },
  { title: 'TARGET', cell: item => item.target ?? '' },
  { title: 'OUTCOME', cell: item => item.outcome, colour: item => colours[item.outcome] },
  { title: 'REASON', cell: item => item.reason },
  { title: 'WHAT', cell: said },
  { title: 'DETAILS', wide: true, cell: item => JSON.stringify(item.details) },
  { title: 'HASH', wide: true, cell: item => item.hash },
]

export const auditLog: Presentation<AuditItem> = {
  listKind: 'AuditEntryList',
  none: 'The audit log is empty.',
  unmatched: 'No row of the audit log matches.',
  name: item => `audit/${item.seq}`,
  key: item => String(item.seq),
  columns,
}

/** Rows that come one by one cannot wait for one another to be lined up. */
const widths: Record<string, number> = {
  SEQ: 6,
  TIME: 24,
  BY: 20,
  FROM: 22,
  EVENT: 20,
  TARGET: 24,
  OUTCOME: 7,
}

export const followedLog: Presentation<AuditItem> = {
  ...auditLog,
  columns: columns.map(column => ({
    ...column,
    title: padded(column.title, column.title, column.right),
    cell: (item, now) => padded(column.cell(item, now) || '-', column.title, column.right),
  })),
}

function padded(text: string, title: string, right = false): string {
  const width = widths[title] ?? 0
  return right ? text.padStart(width) : text.padEnd(width)
}
