import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { copy, dialSide, makeTree, snapshot } from '#test/resources/copies.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

let folder: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  folder = await openFolder()
  await mkdir(at('in'))
})
afterEach(() => folder[Symbol.asyncDispose]())
const at = (name: string) => join(folder.path, name)

needing('root', 'mount')(
  'a full disk ends the copy with that reason, and leaves the disk as it was',
  async () => {
    const mounted = await run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at('in')])
    expect(mounted.stderr).toBe('')
    try {
      await makeTree(at('tree'), randomBytes)
      await mkdir(at('in/there'))
      await writeFile(at('in/there/a.txt'), 'old')
      for (const [target, options] of [
        ['in/copy', ''],
        ['in/there', 'exact'],
      ] as const) {
        await expect(copy(at('tree'), at(target), { options })).rejects.toMatchObject({
          code: 'exhausted',
          why: 'the disk is full (ENOSPC)',
        })
        expect(await readdir(at('in'))).toEqual(['there'])
      }
      const left = await readdir(at('in/there'), { recursive: true })
      expect(left.filter(name => name.includes('fleetcat') || name.includes('large'))).toEqual([])
    } finally {
      await run(['umount', at('in')])
    }
  },
)

test.each([1, 100_000, 2_000_000])('a cut after %i bytes gives its reason, and no name', async cutAt => {
  await makeTree(at('tree'), randomBytes)
  await expect(copy(at('tree'), at('in/copy'), { cutAt })).rejects.toMatchObject({
    code: 'revoked',
    why: 'the test says so',
  })
  expect(await readdir(at('in'))).toEqual([])
})

test('a sender that is gone in the middle leaves nothing', async () => {
  await writeFile(at('file'), randomBytes(20_000_000))
  await using sending = await openTestRelay({ targets: [`SEND:${at('file')}`] })
  await using receiving = await openTestRelay({ targets: [`RECEIVE:${at('in')}`] })
  await using sender = await openClient(sending.port)
  await using receiver = await openClient(receiving.port)
  let passed = 0
  const { promise: half, resolve } = Promise.withResolvers<void>()
  sender.on('data', (bytes: Buffer) => {
    passed += bytes.length
    receiver.write(bytes)
    if (passed > 5_000_000) resolve()
  })
  receiver.pipe(sender)
  await half
  expect(await readdir(at('in'))).toHaveLength(1)
  sender.destroy()
  receiver.destroy()
  await until('nothing is left', async () => (await readdir(at('in'))).length === 0)
})

test('a sender that ends without a word is told so, and leaves nothing', async () => {
  await using channel = await dialSide(`RECEIVE:${at('in')}`)
  channel.stream.end()
  const said = await receive(channel.stream)
  expect(said.toString()).toContain('the other side ended the connection before the copy was done')
  expect(await readdir(at('in'))).toEqual([])
})

needing('root')(
  'where nobody may write, the copy is refused, and in a part of it only that part',
  async () => {
    await makeTree(at('tree'), randomBytes)
    await chmod(folder.path, 0o755)
    await chmod(at('tree/empty'), 0o755)
    await chmod(at('tree/a.txt'), 0o644)
    await chmod(at('tree/sub/large'), 0o644)
    await mkdir(at('in/tree/sub'), { recursive: true })
    await chmod(at('in/tree'), 0o777)
    process.setegid?.(65_534)
    process.seteuid?.(65_534)
    try {
      await expect(copy(at('tree'), at('in/copy'))).rejects.toMatchObject({
        code: 'denied',
        why: 'the operating system denies access (EACCES)',
      })
      const { refused, done } = await copy(at('tree'), at('in/tree'), { options: 'exact' })
      expect(refused.map(({ path }) => path).filter(path => !path.startsWith('sub/'))).toEqual([])
      expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['denied', 'not-found', 'conflict']))
      expect(done.files).toBe(3)
    } finally {
      process.seteuid?.(0)
      process.setegid?.(0)
    }
    expect(await readFile(at('in/tree/a.txt'), 'utf8')).toBe('alpha')
    expect(await readdir(at('in/tree/sub'))).toEqual([])
    expect(Object.keys(await snapshot(at('in/tree'))).some(name => name.includes('fleetcat'))).toBe(false)
  },
)
