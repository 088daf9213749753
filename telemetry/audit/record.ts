import { clean, words } from '../clean.ts'

export const outcomes = ['done', 'refused', 'alert'] as const
export type Outcome = (typeof outcomes)[number]

/** What one row says: who did what to what, from where, why, and what came of it. */
export interface AuditRecord {
  /** `relay.created`, `revoked`, `access.denied`, … */
  readonly event: string
  readonly outcome: Outcome
  /** `operator/ann`, `agent/edge-1`; `local` is the user who runs the controller. */
  readonly by: string
  /** `10.0.0.7:4000`; empty when the controller's own process did it. */
  readonly from: string
  /** `relay/web`, `agent/edge-1`, `token/t-4fk2`; empty when it is about nothing that has a name. */
  readonly target: string
  /** In the words of who asked. */
  readonly reason: string
  /** What happened, in plain words. */
  readonly words: string
  readonly details: Readonly<Record<string, unknown>>
}

/** One row as it is shown and handed on. */
export interface AuditEntry extends AuditRecord {
  readonly seq: bigint
  readonly at: Date
  readonly hash: string
}

const mostBytes = 16 * 1_024
const texts = ['event', 'by', 'from', 'target', 'reason', 'words'] as const

/**
 * The bytes of a record: JSON without blanks and with sorted keys, so one record has one encoding. Texts are made safe
 * for logs and terminals here, where no writer can forget it, and secrets never get in.
 */
export function encodeRecord(record: AuditRecord): Uint8Array {
  const { details, outcome, ...given } = record
  const safe = Object.fromEntries(texts.map(name => [name, words(given[name], 512)]))
  const whole = encode({ ...safe, outcome, details: clean({ ...details }) })
  return whole.byteLength <= mostBytes ? whole : encode({ ...safe, outcome, details: { leftOut: true } })
}

/** Reads what `encodeRecord` wrote. Of bytes that are none of ours it tells what it can: a log must stay readable. */
export function decodeRecord(bytes: Uint8Array): AuditRecord {
  let given: Record<string, unknown> = {}
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (typeof value === 'object' && value !== null) given = value as Record<string, unknown>
  } catch {
    given = { event: 'unreadable', outcome: 'alert', words: 'these bytes are no row of ours' }
  }
  const text = (name: string) => (typeof given[name] === 'string' ? given[name] : '')
  const { details } = given
  return {
    event: text('event'),
    outcome: outcomes.find(each => each === given.outcome) ?? 'alert',
    by: text('by'),
    from: text('from'),
    target: text('target'),
    reason: text('reason'),
    words: text('words'),
    details: typeof details === 'object' && details !== null ? { ...details } : {},
  }
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(sorted(value)))
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, each]) => [name, sorted(each)]))
}
