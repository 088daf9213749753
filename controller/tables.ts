import { rows } from './records.ts'
import type { Store } from './store/store.ts'
import { table } from './store/table.ts'

/** The store as typed tables, for whoever writes; reading goes through the mirror. */
export function openTables(store: Store) {
  return {
    cluster: table(store, rows.cluster.prefix, rows.cluster.codec),
    relays: table(store, rows.relays.prefix, rows.relays.codec),
    agents: table(store, rows.agents.prefix, rows.agents.codec),
    operators: table(store, rows.operators.prefix, rows.operators.codec),
    tokens: table(store, rows.tokens.prefix, rows.tokens.codec),
    seen: table(store, rows.seen.prefix, rows.seen.codec),
    deadKeys: table(store, rows.deadKeys.prefix, rows.deadKeys.codec),
    revocations: table(store, rows.revocations.prefix, rows.revocations.codec),
    receipts: table(store, rows.receipts.prefix, rows.receipts.codec),
    formerPlacements: table(store, rows.formerPlacements.prefix, rows.formerPlacements.codec),
    formerLabels: table(store, rows.formerLabels.prefix, rows.formerLabels.codec),
    applied: table(store, rows.applied.prefix, rows.applied.codec),
    cursors: table(store, rows.cursors.prefix, rows.cursors.codec),
  }
}

export type Tables = ReturnType<typeof openTables>
