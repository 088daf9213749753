import { execFileSync } from 'node:child_process'
import { chown, mkdir, readdir, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readPrivateFile, writePrivateFile } from '#identity/private-file.ts'
import { needing } from '../resources/needs.ts'
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
  })

  it('is a regular file: no link, no pipe, no directory', async () => {
    await using directory = await temporaryDirectory()
    const path = (name: string) => join(directory.path, name)
    await writeFile(path('secret'), 'one', { mode: 0o600 })
    await symlink(path('secret'), path('link'))
    await mkdir(path('folder'), { mode: 0o700 })
    execFileSync('mkfifo', ['-m', '600', path('pipe')])
    for (const name of ['link', 'folder', 'pipe']) {
      expect(await failureOf(readPrivateFile(path(name)))).toMatchObject({ code: 'untrusted' })
    }
  })

  needing('root')('of another user, or in the directory of one, is neither read nor written', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    const path = join(home, 'secret')
    await writePrivateFile(path, 'one', 'replace')
    await chown(path, 65_534, 65_534)
    expect(await failureOf(readPrivateFile(path))).toMatchObject({
      code: 'untrusted',
      why: expect.stringContaining('belongs to another user'),
      fix: expect.stringContaining(`chown 0 ${path}`),
    })
    await chown(path, 0, 0)
    expect(await readPrivateFile(path)).toBe('one')
    await chown(home, 65_534, 65_534)
    expect(await failureOf(readPrivateFile(path))).toMatchObject({ code: 'untrusted' })
    expect(await failureOf(writePrivateFile(path, 'two', 'replace'))).toMatchObject({ code: 'untrusted' })
  })

  it('takes away what a process left that was killed while it saved, and nothing else', async () => {
    await using directory = await temporaryDirectory()
    const path = await directory.file('secret', '')
    const long = new Date(Date.now() - 3_600_000)
    const killed = ['.secret.0123456789abcdef', '.secret.fedcba9876543210']
    const others = ['.secret.old', '.secrets.0123456789abcdef', 'other', '.secret.00000000000000ff']
    for (const name of [...killed, ...others]) {
      const left = await directory.file(name, 'a key')
      if (!name.endsWith('ff')) await utimes(left, long, long)
    }
    await writePrivateFile(path, 'one', 'replace')
    expect((await readdir(directory.path)).sort()).toEqual([...others, 'secret'].sort())
    const left = await directory.file(killed[0]!, 'a key')
    await utimes(left, long, long)
    await readPrivateFile(path)
    expect((await readdir(directory.path)).sort()).toEqual([...others, 'secret'].sort())
  })
})
