import { type ReadAuditRequest, ReadAuditRequest as Request } from '#gen/fleetcat/v1/operator.ts'
import { type ChainEnds, checkChain, hex } from '#telemetry/audit/chain.ts'
import { type AuditEntry, decodeRecord } from '#telemetry/audit/record.ts'
import { messages } from '#wire/call.ts'
import type { TestController, TestOperator } from './fleet.ts'

/** The rows of the audit log, as an operator reads them; the chain of what is read in whole has to hold. */
export async function auditRows(
  { admin }: { readonly admin: TestOperator },
  wanted: Partial<ReadAuditRequest> = {},
): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = []
  let check: ReturnType<typeof checkChain> | undefined
  for await (const { ends, rows } of messages(admin.client.readAudit(Request.fromPartial(wanted)), 'audit')) {
    if (Object.keys(wanted).length === 0) check ??= checkChain(ends as ChainEnds)
    for (const { seq, atMs, record, hash } of rows) {
      const breach = check?.add({ seq, at: Number(atMs), bytes: record, hash })
      if (breach) throw new Error(`row ${breach.seq}: ${breach.why}`)
      entries.push({ ...decodeRecord(record), seq, at: new Date(Number(atMs)), hash: hex(hash) })
    }
  }
  const breach = check?.end()
  if (breach) throw new Error(`row ${breach.seq}: ${breach.why}`)
  return entries
}

/** Those of one event. */
export async function rowsOf(controller: TestController, event: string): Promise<AuditEntry[]> {
  return (await auditRows(controller)).filter(row => row.event === event)
}
