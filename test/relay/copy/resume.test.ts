import { link, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { copy, makeTree, sha256, snapshot } from '#test/resources/copies.ts'
import { openFolder } from '#test/resources/folder.ts'
import { type Random, seededRandom } from '#test/resources/random.ts'

let folder: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  folder = await openFolder()
  await mkdir(at('in'))
})
afterEach(() => folder[Symbol.asyncDispose]())
const at = (name: string) => join(folder.path, name)

const resume = 'resume,exact'

function bytesFrom({ random }: Random): (size: number) => Buffer {
  return size => {
    const bytes = Buffer.allocUnsafe(size)
    for (let i = 0; i < size; i++) bytes[i] = random() * 256
    return bytes
  }
}

/** The times of directories that were there before are those of what happened in them. */
const timeless = (seen: Record<string, string>) =>
  Object.entries(seen).map(([path, what]) => [path, what.replace(/^(directory \d+) .*/, '$1')])

describe('a copy that breaks off anywhere', () => {
  test('goes on from there, as often as it takes, and is whole in the end', async () => {
    const seeded = seededRandom()
    await makeTree(at('tree'), bytesFrom(seeded))
    const want = await snapshot(at('tree'))
    const { bytes: whole } = await copy(at('tree'), at('in/once'))
    let sent = 0
    for (let turn = 0; turn < 8; turn++) {
      const cutAt = Math.floor(seeded.random() * whole * 0.9)
      const cut = await copy(at('tree'), at('in/copy'), { options: resume, cutAt }).then(
        ({ bytes }) => {
          sent += bytes
          return undefined
        },
        error => error,
      )
      if (!cut) break
      expect(cut).toMatchObject({ code: 'revoked', why: 'the test says so' })
      expect(await readdir(at('in'))).not.toContain('copy')
    }
    const { done, bytes } = await copy(at('tree'), at('in/copy'), { options: resume })
    expect(sent + bytes).toBeLessThanOrEqual(whole)
    expect(done.files).toBe(6)
    expect(timeless(await snapshot(at('in/copy')))).toEqual(timeless(want))
    expect((await readdir(at('in'))).sort()).toEqual(['copy', 'once'])
  })

  test('goes on in the middle of a file, also where a directory was there before', async () => {
    const seeded = seededRandom()
    const content = bytesFrom(seeded)(12_000_000)
    await mkdir(at('tree'))
    await writeFile(at('tree/image'), content)
    await mkdir(at('in/tree'))
    await writeFile(at('in/tree/image'), 'the old one')
    await expect(copy(at('tree'), at('in/tree'), { options: resume, cutAt: 8_000_000 })).rejects.toThrow()
    expect(await readFile(at('in/tree/image'), 'utf8')).toBe('the old one')
    const { bytes, done } = await copy(at('tree'), at('in/tree'), { options: resume })
    expect(bytes).toBeLessThan(7_000_000)
    expect(done).toMatchObject({ files: 1, bytes: content.length })
    expect((await readFile(at('in/tree/image'))).equals(content)).toBe(true)
    expect(await readdir(at('in/tree'))).toEqual(['image'])
  })

  test('sends anew what is not what it was: it goes on where both begin to differ', async () => {
    const content = bytesFrom(seededRandom())(12_000_000)
    await writeFile(at('image'), content)
    await expect(copy(at('image'), at('in'), { options: 'resume', cutAt: 9_000_000 })).rejects.toThrow()
    const [partial] = await readdir(at('in'))
    const part = await readFile(at(`in/${partial}`))
    expect(part.length).toBeGreaterThan(7_000_000)
    part[5_000_000]! ^= 1
    await writeFile(at(`in/${partial}`), part)
    const { bytes, done } = await copy(at('image'), at('in'), { options: 'resume' })
    expect(bytes).toBeGreaterThan(7_000_000)
    expect(bytes).toBeLessThan(9_000_000)
    expect(done.sha256).toBe(sha256(content))
    expect((await readFile(at('in/image'))).equals(content)).toBe(true)
  })

  test('leaves nothing behind if nobody has asked to go on', async () => {
    await makeTree(at('tree'), bytesFrom(seededRandom()))
    await mkdir(at('in/merged'))
    for (const target of ['in/copy', 'in/merged']) {
      const copying = copy(at('tree'), at(target), { options: 'exact', cutAt: 2_000_000 })
      await expect(copying).rejects.toMatchObject({ code: 'revoked' })
    }
    expect(await readdir(at('in'))).toEqual(['merged'])
    const left = await readdir(at('in/merged'), { recursive: true })
    expect(left.filter(name => name.includes('fleetcat'))).toEqual([])
  })

  test('does not write into a partial file that has another name somewhere', async () => {
    const content = bytesFrom(seededRandom())(4_000_000)
    await writeFile(at('image'), content)
    await expect(copy(at('image'), at('in'), { options: 'resume', cutAt: 3_000_000 })).rejects.toThrow()
    const [partial] = await readdir(at('in'))
    await writeFile(at('precious'), content.subarray(0, 2_000_000))
    await rm(at(`in/${partial}`))
    await link(at('precious'), at(`in/${partial}`))
    const { bytes } = await copy(at('image'), at('in'), { options: 'resume' })
    expect(bytes).toBeGreaterThan(content.length)
    expect((await readFile(at('precious'))).length).toBe(2_000_000)
    expect((await readFile(at('in/image'))).equals(content)).toBe(true)
  })
})

describe('what is complete', () => {
  test('is not sent again', async () => {
    await makeTree(at('tree'), bytesFrom(seededRandom()))
    await copy(at('tree'), at('in/tree'))
    const { done, bytes } = await copy(at('tree'), at('in/tree'), { options: resume })
    expect(done).toMatchObject({ files: 6, kept: 6 })
    expect(bytes).toBeLessThan(20_000)
    expect(timeless(await snapshot(at('in/tree')))).toEqual(timeless(await snapshot(at('tree'))))
  })

  test('is sent again if only its size and its time are those of the source', async () => {
    await mkdir(at('tree'))
    await writeFile(at('tree/file'), 'right')
    await copy(at('tree'), at('in/tree'))
    await writeFile(at('in/tree/file'), 'wrong')
    await utimes(at('tree/file'), 1_600_000_000, 1_600_000_000)
    await utimes(at('in/tree/file'), 1_600_000_000, 1_600_000_000)
    const { done } = await copy(at('tree'), at('in/tree'), { options: resume })
    expect(done).toMatchObject({ files: 1, kept: 0 })
    expect(await readFile(at('in/tree/file'), 'utf8')).toBe('right')
  })

  test('of a copy that broke off goes, if the source has it no more', async () => {
    await makeTree(at('tree'), bytesFrom(seededRandom()))
    await expect(copy(at('tree'), at('in/copy'), { options: resume, cutAt: 2_500_000 })).rejects.toThrow()
    await rename(at('tree/sub'), at('tree/other'))
    await writeFile(at('tree/a.txt'), 'changed')
    await copy(at('tree'), at('in/copy'), { options: resume })
    expect(await snapshot(at('in/copy'))).toEqual(await snapshot(at('tree')))
  })
})
