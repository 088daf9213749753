import { appendFile, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openTombstones } from '#agent/tombstones.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { keptLog, silent } from './resources.ts'

const fileOf = (folder: string) => join(folder, 'tombstones.jsonl')

test('what is dead stays dead, and what was seen stays seen, over a restart', async () => {
  await using folder = await openFolder()
  {
    await using tombstones = await openTombstones(folder.path, silent)
    expect(tombstones.has('r-1')).toBe(false)
    await Promise.all([tombstones.bury('r-1'), tombstones.bury('r-2')])
    await tombstones.advance({ epoch: 2n, revision: 77n })
  }
  await using again = await openTombstones(folder.path, silent)
  expect(['r-1', 'r-2', 'r-3'].map(again.has)).toEqual([true, true, false])
  expect(again.seen).toEqual({ epoch: 2n, revision: 77n })
  expect((await stat(fileOf(folder.path))).mode & 0o077).toBe(0)
})

test('a mark holds at once, and is on disk when its promise resolves', async () => {
  await using folder = await openFolder()
  await using tombstones = await openTombstones(folder.path, silent)
  const kept = tombstones.bury('r-1')
  expect(tombstones.has('r-1')).toBe(true)
  await kept
  expect(await readFile(fileOf(folder.path), 'utf8')).toContain('"r-1"')
})

test('a line that was being written when the power went is passed over', async () => {
  await using folder = await openFolder()
  {
    await using tombstones = await openTombstones(folder.path, silent)
    await tombstones.bury('r-1')
  }
  await appendFile(fileOf(folder.path), '{"dead":"r-')
  await using again = await openTombstones(folder.path, silent)
  expect(again.has('r-1')).toBe(true)
  await again.bury('r-2')
  expect(await readFile(fileOf(folder.path), 'utf8')).toMatch(/"r-2"\}\n$/)
})

test.each(['{"dead":7}\n', 'nonsense\n', '{"epoch":"1","revision":"-3"}\n'])(
  'a damaged file is refused, with the line: %j',
  async line => {
    await using folder = await openFolder()
    await writeFile(fileOf(folder.path), `{"dead":"r-1"}\n${line}`)
    const refused = openTombstones(folder.path, silent)
    await expect(refused).rejects.toMatchObject({ code: 'internal', why: expect.stringContaining('line 2') })
  },
)

test('the file does not grow with each revision', async () => {
  await using folder = await openFolder()
  await using tombstones = await openTombstones(folder.path, silent)
  await tombstones.bury('r-1')
  for (let revision = 1n; revision <= 30_000n; revision++)
    void tombstones.advance({ epoch: 1n, revision }).catch(() => {})
  await tombstones.advance({ epoch: 1n, revision: 30_001n })
  await tombstones.advance({ epoch: 1n, revision: 30_002n })
  expect((await readFile(fileOf(folder.path), 'utf8')).split('\n').length).toBeLessThan(10_010)
  expect(tombstones.seen.revision).toBe(30_002n)
})

needing('root')(
  'on a full disk a mark holds, says that it is not kept, and is kept when there is room',
  async () => {
    await using folder = await openFolder()
    await run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder.path])
    try {
      const kept = keptLog()
      await using tombstones = await openTombstones(folder.path, kept.log)
      await run(['sh', '-c', `dd if=/dev/zero of=${folder.path}/ballast bs=1k 2>/dev/null`])
      const long = 'r-'.padEnd(8_000, 'x')
      await expect(tombstones.bury(long)).rejects.toMatchObject({ code: 'exhausted' })
      expect(tombstones.has(long)).toBe(true)
      expect(kept.has('what was revoked is not on disk')).toBe(true)
      await run(['rm', `${folder.path}/ballast`])
      await tombstones.bury('r-2')
      expect(await readFile(fileOf(folder.path), 'utf8')).toContain(long)
      expect(kept.has('what was revoked is on disk again')).toBe(true)
    } finally {
      await run(['umount', '-l', folder.path])
    }
  },
)
