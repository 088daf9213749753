import { isIPv4, isIPv6 } from 'node:net'
import { sanitise } from '../sanitise.ts'
import { type Origin, severityOf } from './origin.ts'
import type { AuditEntry } from './record.ts'
import { detailsText, mostText } from './rfc5424.ts'

/** One row in the Common Event Format: a line, without its end. */
export function cef(entry: AuditEntry, { cluster, version }: Origin): string {
  const { seq, at, event, outcome, by, target, reason, details, hash, words } = entry
  const head = ['fleetcat', 'fleetcat', version, event, words].map(inHeader)
  const extension: Record<string, string> = {
    rt: String(at.getTime()),
    externalId: String(seq),
    dvchost: cluster,
    outcome,
    suser: by,
    ...sourceOf(entry.from),
    ...labelled(1, 'target', target),
    ...labelled(2, 'hash', hash),
    ...labelled(3, 'details', detailsText(details)),
    reason,
  }
  const pairs = Object.entries(extension).filter(([, value]) => value !== '')
  const text = pairs.map(([name, value]) => `${name}=${inExtension(value)}`).join(' ')
  return `CEF:0|${head.join('|')}|${severityOf(outcome).cef}|${text}`
}

function labelled(n: number, label: string, value: string): Record<string, string> {
  return value === '' ? {} : { [`cs${n}Label`]: label, [`cs${n}`]: value }
}

/** CEF has one key for IPv4 addresses and another for the rest. */
function sourceOf(from: string): Record<string, string> {
  const at = from.lastIndexOf(':')
  const host = from.slice(0, at).replace(/^\[(.*)\]$/, '$1')
  const spt = from.slice(at + 1)
  if (isIPv4(host)) return { src: host, spt }
  return isIPv6(host) ? { c6a2Label: 'Source IPv6 Address', c6a2: host, spt } : {}
}

/** Line ends are gone by now: no text of a peer can begin a line of its own. */
const inHeader = (text: string) => sanitise(text, mostText).replace(/[\\|]/g, '\\$&')
const inExtension = (text: string) => sanitise(text, mostText).replace(/[\\=]/g, '\\$&')
