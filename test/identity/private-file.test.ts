import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readPrivateFile, writePrivateFile } from '#identity/private-file.ts'
import { failureOf, temporaryDirectory } from './fixtures.ts'

describe('a private file', () => {
  it('is replaced, or kept if that was asked', async () => {
    await using directory = await temporaryDirectory()
    const path = join(directory.path, 'home', 'secret')
    expect(await readPrivateFile(path)).toBeUndefined()
    expect(await writePrivateFile(path, 'one', 'keep')).toBe(true)
    expect(await writePrivateFile(path, 'two', 'keep')).toBe(false)
    expect(await readPrivateFile(path)).toBe('one')
    expect(await writePrivateFile(path, 'three', 'replace')).toBe(true)
    expect(await readPrivateFile(path)).toBe('three')
    expect(await readdir(join(directory.path, 'home'))).toEqual(['secret'])
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  it('is written by one of many who ask to keep what is there', async () => {
    await using directory = await temporaryDirectory()
    const path = join(directory.path, 'secret')
    const texts = Array.from({ length: 16 }, (_, writer) => `by ${writer}`)
    const written = await Promise.all(texts.map(text => writePrivateFile(path, text, 'keep')))
    expect(written.filter(Boolean)).toHaveLength(1)
    expect(await readPrivateFile(path)).toBe(texts[written.indexOf(true)])
  })

  it('leaves the errors of the system as they are', async () => {
    await using directory = await temporaryDirectory()
    const path = await directory.file('file', '')
    expect(await failureOf(writePrivateFile(join(path, 'below'), '', 'replace'))).toMatchObject({
      code: 'EEXIST',
    })
    await mkdir(join(directory.path, 'folder'), { mode: 0o700 })
    expect(await failureOf(readPrivateFile(join(directory.path, 'folder')))).toMatchObject({ code: 'EISDIR' })
  })
})
