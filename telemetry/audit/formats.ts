import { cef } from './cef.ts'
import type { Origin } from './origin.ts'
import type { AuditEntry } from './record.ts'
import { rfc5424, syslogHeader } from './rfc5424.ts'

export const syslogFormats = ['rfc5424', 'cef'] as const
export type SyslogFormat = (typeof syslogFormats)[number]

/** One row as a syslog message; CEF travels as the text of one. */
export function syslogMessage(entry: AuditEntry, origin: Origin, format: SyslogFormat): string {
  return format === 'rfc5424'
    ? rfc5424(entry, origin)
    : `${syslogHeader(entry, origin)} - ${cef(entry, origin)}`
}
