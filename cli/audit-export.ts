import { cef } from '#telemetry/audit/cef.ts'
import type { ChainRow } from '#telemetry/audit/chain.ts'
import { rfc5424 } from '#telemetry/audit/rfc5424.ts'
import { version } from '#wire/version.ts'
import { type AuditFilter, followRows, readRows } from './audit-rows.ts'
import type { FleetOptions } from './client.ts'
import { json } from './output/structured.ts'
import { auditEntry, auditItem } from './views/audit.ts'

export const exportFormats = ['jsonl', 'rfc5424', 'cef'] as const
export type ExportFormat = (typeof exportFormats)[number]

type Write = (row: ChainRow, cluster: string) => string

/** One line for each row. */
const writers: Record<ExportFormat, Write> = {
  jsonl: (row, cluster) => json({ apiVersion: 'fleetcat/v1', cluster, ...auditItem(row) }, { pretty: false }),
  rfc5424: (row, cluster) => `${rfc5424(auditEntry(row), { cluster, version })}\n`,
  cef: (row, cluster) => `${cef(auditEntry(row), { cluster, version })}\n`,
}

export async function exportRows(
  options: FleetOptions & { readonly format: ExportFormat; readonly follow?: true },
  filter: AuditFilter,
): Promise<void> {
  const write = async (rows: readonly ChainRow[], cluster: string) => {
    const text = rows.map(row => writers[options.format](row, cluster)).join('')
    // Whoever reads slowly holds up the controller's answer, and not our memory.
    if (!process.stdout.write(text)) await new Promise(resolve => process.stdout.once('drain', resolve))
  }
  if (options.follow)
    for await (const { rows, cluster } of followRows(options, filter)) await write(rows, cluster)
  else
    await readRows(options, filter, async (_, pages, cluster) => {
      for await (const rows of pages) await write(rows, cluster)
    })
}
