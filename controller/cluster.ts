import { randomBytes } from 'node:crypto'
import type { ClusterRecord } from './records.ts'
import type { Store } from './store/store.ts'
import type { Tables } from './tables.ts'

/** The cluster of this data directory: read, or on the first start made. */
export async function openCluster(store: Store, tables: Tables): Promise<ClusterRecord> {
  for (;;) {
    const { row } = await tables.cluster.get('self')
    if (row) return row.value
    const name = `fleet-${randomBytes(4).toString('hex')}`
    const record: ClusterRecord = { name, epoch: 1, createdAt: new Date().toISOString() }
    await store.txn([tables.cluster.at('self', 0n)], [tables.cluster.put('self', record)])
  }
}
