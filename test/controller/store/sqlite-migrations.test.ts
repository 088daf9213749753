import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { migrate, migrations, versionOf } from '#controller/store/sqlite/schema.ts'
import { openSqliteStore } from '#controller/store/sqlite.ts'
import { temporaryDirectory } from './temporary-directory.ts'

it('brings an older schema up to date, step by step, and keeps what is there', async () => {
  using directory = temporaryDirectory()
  await filled(directory.path)
  {
    using database = open(directory.path)
    const steps = [
      ...migrations,
      'ALTER TABLE audit ADD COLUMN mark INTEGER',
      'UPDATE audit SET mark = seq + 41',
    ]
    migrate(database, steps)
    expect(versionOf(database)).toBe(migrations.length + 2)
    expect(database.prepare('SELECT seq, mark FROM audit').all()).toEqual([{ seq: 1, mark: 42 }])
    migrate(database, steps)
    expect(database.prepare('SELECT count(*) AS n FROM migrations').get()).toEqual({
      n: migrations.length + 2,
    })
  }
})

it('undoes a step that fails, and keeps those before it', async () => {
  using directory = temporaryDirectory()
  await filled(directory.path)
  {
    using database = open(directory.path)
    const steps = [
      ...migrations,
      'CREATE TABLE kept (n INTEGER)',
      'CREATE TABLE undone (n INTEGER); INSERT INTO nowhere VALUES (1)',
    ]
    expect(() => migrate(database, steps)).toThrow('nowhere')
    expect(versionOf(database)).toBe(migrations.length + 1)
    const tables = database.prepare(`SELECT name FROM sqlite_schema WHERE name IN ('kept', 'undone')`).all()
    expect(tables).toEqual([{ name: 'kept' }])
  }
})

it('refuses the schema of a later version, names that version, and opens it again with the right one', async () => {
  using directory = temporaryDirectory()
  await filled(directory.path)
  const later = migrations.length + 1
  rewrite(
    directory.path,
    `INSERT INTO migrations VALUES (${later}, 'fleetcat 9.9.9'); PRAGMA user_version = ${later}`,
  )
  await expect(openSqliteStore(directory.path)).rejects.toMatchObject({
    code: 'unsupported',
    why: `fleetcat 9.9.9 made its schema ${later}, and this fleetcat knows schemas up to ${migrations.length}`,
  })
  rewrite(directory.path, `PRAGMA user_version = ${migrations.length}`)
  await using store = await openSqliteStore(directory.path)
  expect((await store.get('a')).rev).toBe(1n)
})

async function filled(path: string): Promise<void> {
  await using store = await openSqliteStore(path)
  await store.txn([], [{ put: { key: 'a', value: new Uint8Array(1) } }], {
    audit: [{ at: 1, bytes: new Uint8Array(1) }],
  })
}

function open(path: string): DatabaseSync {
  return new DatabaseSync(join(path, 'store.db'))
}

function rewrite(path: string, sql: string): void {
  using database = open(path)
  database.exec(sql)
}
