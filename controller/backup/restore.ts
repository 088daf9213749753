import { copyFile, mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { makeDirectory } from '#disk/hold.ts'
import { RelayError } from '#relay/errors.ts'
import { openSqliteStore } from '../store/sqlite.ts'
import { openTables } from '../tables.ts'
import { backedUp, type Manifest, readManifest } from './manifest.ts'

/**
 * Makes a data directory of a backup, with an epoch above every earlier one: agents obey only who is not older than
 * what they have seen, and so they will obey this controller, and no other copy of the old one. Rejects with a
 * RelayError, and then the directory is as it was.
 */
export async function restore(backup: string, dataDir: string): Promise<Manifest & { newEpoch: number }> {
  const manifest = await readManifest(backup)
  await mustBeEmpty(dataDir)
  try {
    for (const name of backedUp) {
      makeDirectory(dirname(join(dataDir, name)))
      await copyFile(join(backup, name), join(dataDir, name))
    }
    return { ...manifest, newEpoch: await raiseEpoch(join(dataDir, 'store')) }
  } catch (thrown) {
    for (const folder of ['store', 'authority'])
      await rm(join(dataDir, folder), { recursive: true, force: true })
    throw RelayError.from(thrown, `restore of ${backup}`)
  }
}

async function mustBeEmpty(dataDir: string): Promise<void> {
  const there = await readdir(dataDir).catch(async (thrown: NodeJS.ErrnoException) => {
    if (thrown.code !== 'ENOENT') throw RelayError.from(thrown, `directory ${dataDir}`)
    makeDirectory(dirname(dataDir))
    await mkdir(dataDir, { mode: 0o700 })
    return []
  })
  if (there.length === 0) return
  throw new RelayError('conflict', {
    what: `restore into ${dataDir}`,
    why: 'it is not empty',
    fix: 'Stop the controller and move its directory away first, or name another one with --data',
  })
}

/** By the clock, so that two restores of one backup do not meet in the same epoch. */
async function raiseEpoch(folder: string): Promise<number> {
  await using store = await openSqliteStore(folder)
  const tables = openTables(store)
  const { row } = await tables.cluster.get('self')
  if (!row) throw new RelayError('internal', { what: `store ${folder}`, why: 'it says of no cluster' })
  const epoch = Math.max(row.value.epoch + 1, Math.floor(Date.now() / 1_000))
  const done = await store.txn(
    [tables.cluster.at('self', row.modRev)],
    [tables.cluster.put('self', { ...row.value, epoch })],
  )
  if (!done.ok)
    throw new RelayError('conflict', { what: `store ${folder}`, why: 'somebody else writes to it' })
  return epoch
}
