import { sanitise } from '../sanitise.ts'
import { type Origin, severityOf } from './origin.ts'
import type { AuditEntry } from './record.ts'

/** The facility of audit logs. */
const logAudit = 13
/** A number of our own would have to be registered; this one is for those who have none. */
const sdId = 'fleetcat@32473'
const byteOrderMark = '\ufeff'

/** One row as an RFC 5424 message, without what frames it. */
export function rfc5424(entry: AuditEntry, origin: Origin): string {
  const { seq, event, outcome, by, from, target, reason, details, hash, words } = entry
  const params = {
    seq: String(seq),
    event,
    outcome,
    by,
    from,
    target,
    reason,
    details: detailsText(details),
    hash,
  }
  const data = Object.entries(params).map(([name, value]) => `${name}="${escaped(value)}"`)
  return `${syslogHeader(entry, origin)} [${sdId} ${data.join(' ')}] ${byteOrderMark}${sanitise(words)}`
}

/** What stands before the structured data. */
export function syslogHeader({ outcome, at, event }: AuditEntry, { cluster }: Origin): string {
  const priority = logAudit * 8 + severityOf(outcome).syslog
  return `<${priority}>1 ${at.toISOString()} ${ascii(cluster, 255)} fleetcat - ${ascii(event, 32)}`
}

/** A field of the header: printable ASCII without blanks, and never empty. */
const ascii = (text: string, limit: number) => text.replace(/[^!-~]/g, '_').slice(0, limit) || '-'

const escaped = (text: string) => sanitise(text, mostText).replace(/["\\\]]/g, '\\$&')

/** Above what any field of a row can have. */
export const mostText = 65_536

export const detailsText = (details: object) =>
  Object.keys(details).length === 0 ? '' : JSON.stringify(details)
