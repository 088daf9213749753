import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { openSqliteStore } from '#controller/store/sqlite.ts'
import { temporaryDirectory } from './temporary-directory.ts'
import { writingProcess } from './writing-process.ts'

const value = new Uint8Array(2_000).fill(7)

async function filled(path: string, entries = 20): Promise<void> {
  await using store = await openSqliteStore(path)
  for (let i = 0; i < entries; i++) await store.txn([], [{ put: { key: `k/${i}`, value } }])
}

/** A digest of each file that holds data. An empty log holds none; looking into a database may create it. */
function contents(path: string): Record<string, string> {
  const names = readdirSync(path).filter(name => name === 'store.db' || name === 'store.db-wal')
  const files = names.map(name => [name, readFileSync(join(path, name))] as const)
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  return Object.fromEntries(
    files
      .filter(([name, { length }]) => name === 'store.db' || length > 0)
      .map(([name, bytes]) => [name, digest(bytes)]),
  )
}

describe('the files of the sqlite store', () => {
  it('are for their owner only, also those of a restored backup', async () => {
    using directory = temporaryDirectory()
    const path = join(directory.path, 'deep', 'store')
    await filled(path)
    chmodSync(join(path, 'store.db'), 0o644)
    await using store = await openSqliteStore(path)
    await store.txn([], [{ put: { key: 'a', value } }])
    expect(statSync(path).mode & 0o777).toBe(0o700)
    const names = readdirSync(path)
    expect(names).toEqual(expect.arrayContaining(['store.db', 'store.db-wal', 'store.lock', 'store.pid']))
    for (const name of names) expect([name, statSync(join(path, name)).mode & 0o777]).toEqual([name, 0o600])
  })

  it('hold everything over a restart', async () => {
    using directory = temporaryDirectory()
    await filled(directory.path)
    await using store = await openSqliteStore(directory.path)
    const { items, rev } = await store.list('k/')
    expect([items.length, rev]).toEqual([20, 20n])
    for await (const revision of store.watch('', 18n, AbortSignal.timeout(10_000))) {
      expect(revision.rev).toBe(19n)
      break
    }
  })

  it('are made anew when a process was killed while it made them', async () => {
    using directory = temporaryDirectory()
    for (const name of ['store.db.new', 'store.db.new-wal', 'store.db.new-shm']) {
      writeFileSync(join(directory.path, name), 'half a file')
    }
    await filled(directory.path)
    expect(readdirSync(directory.path).sort()).toEqual(['store.db', 'store.lock'])
  })

  it('can be copied by other programs while the store is open', async () => {
    using directory = temporaryDirectory()
    await using store = await openSqliteStore(directory.path)
    await store.txn([], [{ put: { key: 'a', value } }])
    using other = new DatabaseSync(join(directory.path, 'store.db'), { readOnly: true })
    expect(other.prepare('SELECT key FROM entries').all()).toEqual([{ key: 'a' }])
  })

  it('are refused in a directory that others can enter', async () => {
    using directory = temporaryDirectory()
    const path = join(directory.path, 'open')
    mkdirSync(path)
    chmodSync(path, 0o755)
    await expect(openSqliteStore(path)).rejects.toMatchObject({
      code: 'denied',
      why: expect.stringContaining('mode 0755'),
      fix: expect.stringContaining(`chmod 700 ${path}`),
    })
    expect(readdirSync(path)).toEqual([])
  })
})

describe('a second opening of the same directory', () => {
  it('is refused while another process has it, by its number, and allowed when that is killed', async () => {
    using directory = temporaryDirectory()
    await using writer = writingProcess(directory.path, 'first')
    await writer.lines(2)
    await expect(openSqliteStore(directory.path)).rejects.toMatchObject({
      code: 'conflict',
      why: `process ${writer.pid} has it open`,
    })
    const before = writer.said.length
    await writer.lines(before + 20)
    await writer.kill()
    await using store = await openSqliteStore(directory.path)
    expect((await store.list('left/')).items.length).toBeGreaterThanOrEqual(before + 19)
  })

  it('is refused within one process too, and does not take the lock from the first', async () => {
    using directory = temporaryDirectory()
    await using store = await openSqliteStore(directory.path)
    for (let i = 0; i < 2; i++) {
      await expect(openSqliteStore(directory.path)).rejects.toMatchObject({
        why: 'this very process has it open',
      })
    }
    await using writer = writingProcess(directory.path, 'second')
    await expect(writer.lines(1)).rejects.toThrow(`process ${process.pid} has it open`)
    expect(await store.txn([], [{ put: { key: 'a', value } }])).toEqual({ ok: true, rev: 1n })
  })
})

describe('a damaged database', () => {
  const damages: [string, (file: string) => void][] = [
    ['garbage in its header', file => overwrite(file, 0, 'this is no database at all')],
    ['garbage in its pages', overwritePages],
    ['a missing half', file => truncateSync(file, statSync(file).size / 2)],
    ['nothing in it', file => truncateSync(file, 0)],
  ]

  it.each(damages)('with %s is refused and left as it is', async (_, damage) => {
    using directory = temporaryDirectory()
    await filled(directory.path)
    damage(join(directory.path, 'store.db'))
    await expectRefusedUntouched(directory.path)
  })

  it('with a log that a killed process left is refused, and the log is kept too', async () => {
    using directory = temporaryDirectory()
    await filled(directory.path)
    await using writer = writingProcess(directory.path, 'w')
    await writer.lines(20)
    await writer.kill()
    const file = join(directory.path, 'store.db')
    expect(statSync(`${file}-wal`).size).toBeGreaterThan(0)
    overwritePages(file)
    await expectRefusedUntouched(directory.path)
  })

  it('that is gone while its log is there is not replaced by an empty one', async () => {
    using directory = temporaryDirectory()
    await using writer = writingProcess(directory.path, 'w')
    await writer.lines(5)
    await writer.kill()
    rmSync(join(directory.path, 'store.db'))
    await expectRefusedUntouched(directory.path)
  })

  it('can be replaced by a backup', async () => {
    using directory = temporaryDirectory()
    await filled(directory.path)
    const file = join(directory.path, 'store.db')
    const backup = join(directory.path, 'backup')
    copyFileSync(file, backup)
    overwrite(file, 0, 'this is no database at all')
    await expectRefusedUntouched(directory.path)
    rmSync(file)
    copyFileSync(backup, file)
    await using store = await openSqliteStore(directory.path)
    expect((await store.list('k/')).items).toHaveLength(20)
  })

  it('of another program is refused and left as it is', async () => {
    using directory = temporaryDirectory()
    const file = join(directory.path, 'store.db')
    {
      using other = new DatabaseSync(file)
      other.exec('CREATE TABLE recipes (name TEXT)')
    }
    const before = contents(directory.path)
    await expect(openSqliteStore(directory.path)).rejects.toMatchObject({
      code: 'usage',
      why: 'it is a database of another program',
    })
    expect(contents(directory.path)).toEqual(before)
  })

  function overwrite(file: string, at: number, text: string) {
    const bytes = readFileSync(file)
    bytes.write(text, at)
    writeFileSync(file, bytes)
  }

  /** All but the first, which a log may hold a newer version of. */
  function overwritePages(file: string) {
    overwrite(file, 4_096, 'x'.repeat(statSync(file).size - 4_096))
  }

  async function expectRefusedUntouched(path: string) {
    const before = contents(path)
    await expect(openSqliteStore(path)).rejects.toMatchObject({
      code: 'internal',
      what: `The store ${join(path, 'store.db')} is damaged`,
      why: expect.stringMatching(/./),
      fix: expect.stringMatching(
        /^Nothing was changed on disk\. Move .*store\.db\* away and restore a backup/,
      ),
    })
    expect(contents(path)).toEqual(before)
  }
})
