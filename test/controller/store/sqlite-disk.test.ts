import { execFileSync } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openSqliteStore } from '#controller/store/sqlite.ts'
import type { Store } from '#controller/store/store.ts'
import { stuckDisk } from '#test/resources/disk.ts'
import { temporaryDirectory } from './temporary-directory.ts'

const root = process.getuid?.() === 0 && process.platform === 'linux'
const reason = root ? '' : ' (skipped: needs root on Linux to mount a small disk)'

describe(`the sqlite store on a full disk${reason}`, () => {
  if (!root && process.env.CI === 'true') {
    it('must be tested in CI', () => {
      throw new Error('CI must run this test as root on Linux')
    })
  }

  it.skipIf(!root)(
    'refuses writes with the cause, serves reads, and goes on when there is space again',
    async () => {
      using disk = smallDisk()
      await using store = await openSqliteStore(disk.path)
      await writeOne(store, 'before')
      const fillers = fill(disk.path)

      const answered = ['before']
      let refused: unknown
      for (let i = 0; refused === undefined; i++) {
        await writeOne(store, `filling/${i}`).then(
          () => answered.push(`filling/${i}`),
          error => {
            refused = error
          },
        )
      }
      expect(refused).toMatchObject({ kind: 'Unavailable', code: 'unavailable', why: 'the disk is full' })
      await expect(store.audit.append([{ at: 1, bytes: page }])).rejects.toMatchObject({
        kind: 'Unavailable',
      })
      expect((await store.get('before')).entry?.value).toEqual(page)
      expect((await keysOf(store)).sort()).toEqual(answered.toSorted())

      for (const filler of fillers) rmSync(filler)
      await writeOne(store, 'after')
      await store[Symbol.asyncDispose]()
      await using again = await openSqliteStore(disk.path)
      expect((await keysOf(again)).sort()).toEqual([...answered, 'after'].toSorted())
      expect((await again.audit.read(0n, 1_000)).map(({ seq }) => seq)).toEqual(
        [...answered, 'after'].map((_, i) => BigInt(i) + 1n),
      )
    },
  )

  it.skipIf(!root)('commits the small transactions of a group whose largest does not fit', async () => {
    using disk = smallDisk()
    await using store = await openSqliteStore(disk.path)
    const huge = store.txn([], [{ put: { key: 'huge', value: new Uint8Array(8 << 20) } }])
    const others = [writeOne(store, 'a'), writeOne(store, 'b')]
    await expect(huge).rejects.toMatchObject({ kind: 'Unavailable', why: 'the disk is full' })
    await Promise.all(others)
    expect(await keysOf(store)).toEqual(['a', 'b'])
  })

  it.skipIf(!root)('is not created by half when there is no space for it', async () => {
    using disk = smallDisk()
    const fillers = fill(disk.path)
    await expect(openSqliteStore(disk.path)).rejects.toMatchObject({
      code: expect.stringMatching(/unavailable|exhausted/),
    })
    for (const filler of fillers) rmSync(filler)
    await using store = await openSqliteStore(disk.path)
    await writeOne(store, 'a')
  })
})

it.skipIf(process.platform !== 'linux')(
  'goes on in the same way when the disk takes no writes for a while',
  async () => {
    using directory = temporaryDirectory()
    await using store = await openSqliteStore(directory.path)
    await writeOne(store, 'before')
    {
      using _ = stuckDisk()
      await expect(writeOne(store, 'refused')).rejects.toMatchObject({
        kind: 'Unavailable',
        why: 'the disk does not take what is written to it, or has become read-only',
      })
      expect(await keysOf(store)).toEqual(['before'])
    }
    await writeOne(store, 'after')
    expect(await keysOf(store)).toEqual(['after', 'before'])
  },
)

const page = new Uint8Array(4_096).fill(1)

async function writeOne(store: Store, key: string): Promise<void> {
  await store.txn([], [{ put: { key, value: page } }], { audit: [{ at: 1, bytes: page }] })
}

async function keysOf(store: Store): Promise<string[]> {
  return (await store.list('')).items.map(({ key }) => key)
}

/** A file system of 4 MiB. */
function smallDisk(): Disposable & { path: string } {
  const directory = temporaryDirectory()
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'fleetcat-test', directory.path])
  return {
    path: directory.path,
    [Symbol.dispose]() {
      execFileSync('umount', [directory.path])
      directory[Symbol.dispose]()
    },
  }
}

/** Takes all the space that is left. */
function fill(path: string): string[] {
  const { bavail, bsize } = statfsSync(path)
  const filler = join(path, 'filler')
  writeFileSync(filler, new Uint8Array(bavail * bsize))
  return [filler]
}
