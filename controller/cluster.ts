import { randomBytes } from 'node:crypto'
import { type Authority, loadAuthority, openAuthority } from '#identity/ca.ts'
import { RelayError } from '#relay/errors.ts'
import { failureOf } from '#wire/failure.ts'
import type { ClusterRecord } from './records.ts'
import type { Store } from './store/store.ts'
import type { Tables } from './tables.ts'

/**
 * The cluster of this data directory and the authority that signs for it: read, or on the first start made. The
 * authority is made first, so that a crash in between leaves nothing that a later start would not take up.
 */
export async function openCluster(
  store: Store,
  tables: Tables,
  authorityDir: string,
): Promise<{ cluster: ClusterRecord; authority: Authority }> {
  try {
    const { row } = await tables.cluster.get('self')
    const found = await loadAuthority(authorityDir)
    if (row && !found) throw lost(row.value.name, authorityDir)
    const name = row?.value.name ?? found?.cluster ?? `fleet-${randomBytes(4).toString('hex')}`
    const authority = await openAuthority(authorityDir, name)
    if (row) return { cluster: row.value, authority }
    const cluster: ClusterRecord = { name, epoch: 1, createdAt: new Date().toISOString() }
    await store.txn([tables.cluster.at('self', 0n)], [tables.cluster.put('self', cluster)])
    return { cluster, authority }
  } catch (thrown) {
    throw failureOf(thrown, `the cluster of ${authorityDir}`)
  }
}

/** Another key under the same name would be trusted by nobody, and would hide that the right one is gone. */
function lost(cluster: string, authorityDir: string): RelayError {
  return new RelayError('not-found', {
    what: `the authority of cluster ${cluster}`,
    why: `its key is not in ${authorityDir}, though the cluster has been in use`,
    fix: 'Restore this directory from a backup; a new authority would mean a new cluster, in another data directory, that every host has to join',
  })
}
