import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { makeDirectory } from '#disk/hold.ts'
import { RelayError } from '#relay/errors.ts'
import { version } from '#wire/version.ts'
import { openSqliteStore } from '../store/sqlite.ts'
import { openTables } from '../tables.ts'
import { backedUp, hashOf, type Manifest, manifestName } from './manifest.ts'

/**
 * Copies the state of a controller, also of one that runs, as it is at one moment. The copy holds the authority's key:
 * whoever has it can let anybody in. Whole or not there at all. Rejects with a RelayError.
 */
export async function backUp(dataDir: string, target: string): Promise<Manifest> {
  const what = `backup of ${dataDir}`
  if (existsSync(target))
    throw new RelayError('conflict', { what, why: `${target} is there already`, fix: 'Name a new directory' })
  for (const name of backedUp) {
    if (existsSync(join(dataDir, name))) continue
    throw new RelayError('not-found', {
      what,
      why: `there is no ${name} in it`,
      fix: 'Name the data directory of a controller with --data',
    })
  }
  const draft = `${target}.partial`
  try {
    makeDirectory(dirname(target))
    await mkdir(draft, { mode: 0o700 })
    for (const folder of ['store', 'authority']) await mkdir(join(draft, folder), { mode: 0o700 })
    await copyStore(join(dataDir, 'store/store.db'), join(draft, 'store/store.db'))
    await copyFile(join(dataDir, 'authority/authority.pem'), join(draft, 'authority/authority.pem'))
    const manifest = await describe(draft)
    await writeFile(join(draft, manifestName), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 })
    for (const name of [...backedUp, manifestName, 'store', 'authority', '.']) await sync(join(draft, name))
    await rename(draft, target)
    await sync(dirname(target))
    return manifest
  } catch (thrown) {
    await rm(draft, { recursive: true, force: true })
    throw RelayError.from(thrown, what)
  }
}

/** SQLite's own way to copy a database while others write to it. */
async function copyStore(from: string, to: string): Promise<void> {
  const database = new DatabaseSync(from, { readOnly: true })
  try {
    await backup(database, to)
    await chmod(to, 0o600)
  } finally {
    database.close()
  }
}

async function describe(draft: string): Promise<Manifest> {
  const { cluster, epoch, revision } = await readState(join(draft, 'store'))
  const hashes = await Promise.all(
    backedUp.map(async name => [name, await hashOf(join(draft, name))] as const),
  )
  return {
    kind: 'fleetcat-backup',
    version,
    cluster,
    epoch,
    revision: String(revision),
    at: new Date().toISOString(),
    files: Object.fromEntries(hashes),
  }
}

/** Opening it is the proof that it can be opened. */
async function readState(folder: string) {
  await using store = await openSqliteStore(folder)
  const { row } = await openTables(store).cluster.get('self')
  if (!row) throw new RelayError('internal', { what: `store ${folder}`, why: 'it says of no cluster' })
  const { rev } = await store.list('', { limit: 1 })
  return { cluster: row.value.name, epoch: row.value.epoch, revision: rev }
}

async function sync(path: string): Promise<void> {
  const file = await open(path)
  await file.sync().finally(() => file.close())
}
