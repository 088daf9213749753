import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  appendFile,
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { copy, dialSide, joined, makeTree, sha256, snapshot } from '#test/resources/copies.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { openTestRelay } from '#test/resources/relays.ts'

let folder: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  folder = await openFolder()
  await mkdir(at('in'))
})
afterEach(() => folder[Symbol.asyncDispose]())
const at = (name: string) => join(folder.path, name)

describe('a directory', () => {
  test('arrives with its files, links, modes and times, under its name only when it is complete', async () => {
    await makeTree(at('tree'), randomBytes)
    const during = new Set<string>()
    const { done, refused } = await copy(at('tree'), at('in/copy'), {
      heard: () => void readdir(at('in')).then(names => names.map(name => during.add(name))),
    })
    expect(await snapshot(at('in/copy'))).toEqual(await snapshot(at('tree')))
    expect(refused).toEqual([])
    expect(done).toMatchObject({ target: at('in/copy'), files: 6, directories: 3, links: 3, kept: 0 })
    expect(await readdir(at('in'))).toEqual(['copy'])
    expect([...during].filter(name => name !== 'copy')).toHaveLength(1)
  })

  test('has the SHA-256 of the list that sha256sum makes of it', async () => {
    await makeTree(at('tree'), randomBytes)
    const { done } = await copy(at('tree'), at('in/copy'))
    const list = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum"
    const printed = execFileSync('bash', ['-c', list], { cwd: at('in/copy') })
    expect(done.sha256).toBe(sha256(printed))
  })

  test('goes into a directory that is there, as with cp -r', async () => {
    await makeTree(at('tree'), randomBytes)
    const { done } = await copy(at('tree'), at('in'))
    expect(done.target).toBe(at('in/tree'))
    expect(await snapshot(at('in/tree'))).toEqual(await snapshot(at('tree')))
  })

  test('is merged into one of its name: what is not in it stays, and files get their names when complete', async () => {
    await makeTree(at('tree'), randomBytes)
    await mkdir(at('in/tree/sub'), { recursive: true, mode: 0o711 })
    await writeFile(at('in/tree/sub/other'), 'stays')
    await writeFile(at('in/tree/a.txt'), 'old')
    await symlink('sub/other', at('in/tree/sub.txt'))
    const { done, refused } = await copy(at('tree'), at('in/tree'), { options: 'exact' })
    expect(refused).toEqual([])
    expect(done.target).toBe(at('in/tree'))
    const merged = await snapshot(at('in/tree'))
    const { '.': _, sub: __, ...expected } = await snapshot(at('tree'))
    const { '.': ___, sub: ____, 'sub/other': other, ...got } = merged
    expect(got).toEqual(expected)
    expect(other).toContain(sha256('stays'))
    expect((await lstat(at('in/tree/sub'))).mode & 0o777).toBe(0o711)
  })

  test('that is empty arrives too', async () => {
    await mkdir(at('tree'))
    const { done } = await copy(at('tree'), at('in/copy'))
    expect(done).toMatchObject({ files: 0, bytes: 0, sha256: sha256('') })
    expect(await readdir(at('in/copy'))).toEqual([])
  })

  test('through a link is the directory that it leads to', async () => {
    await makeTree(at('tree'), randomBytes)
    await symlink('tree', at('alias'))
    const { done } = await copy(at('alias'), at('in'))
    expect(done.target).toBe(at('in/alias'))
    expect(await snapshot(at('in/alias'))).toEqual(await snapshot(at('tree')))
  })

  test('is not put in the place of a file', async () => {
    await mkdir(at('tree'))
    await writeFile(at('in/file'), 'mine')
    await expect(copy(at('tree'), at('in/file'))).rejects.toMatchObject({
      code: 'conflict',
      what: at('in/file'),
      why: expect.stringContaining('a file has that name'),
    })
    await mkdir(at('in/there'))
    await writeFile(at('in/there/tree'), 'mine')
    await expect(copy(at('tree'), at('in/there'))).rejects.toMatchObject({ code: 'conflict' })
    expect(await readdir(at('in'))).toEqual(['file', 'there'])
  })

  test('leaves a pipe, a socket and a device behind, and says which', async () => {
    await mkdir(at('tree'))
    await writeFile(at('tree/file'), 'kept')
    execFileSync('mkfifo', [at('tree/pipe')])
    const server = createServer().listen(at('tree/socket'))
    try {
      const { done, refused } = await copy(at('tree'), at('in/copy'))
      expect(refused.map(({ path, why }) => [path, why])).toEqual([
        ['pipe', 'it is a named pipe, which is not copied'],
        ['socket', 'it is a socket, which is not copied'],
      ])
      expect(done.files).toBe(1)
      expect(await readdir(at('in/copy'))).toEqual(['file'])
    } finally {
      await new Promise(closed => server.close(closed))
    }
  })

  test('loses its setuid and sticky bits unless they are asked for', async () => {
    await mkdir(at('tree/shared'), { recursive: true })
    await writeFile(at('tree/tool'), '')
    await chmod(at('tree/tool'), 0o4755)
    await chmod(at('tree/shared'), 0o1777)
    await copy(at('tree'), at('in/without'))
    await copy(at('tree'), at('in/with'), { options: 'special-bits' })
    const modes = async (name: string) => [
      (await lstat(at(`${name}/tool`))).mode & 0o7777,
      (await lstat(at(`${name}/shared`))).mode & 0o7777,
    ]
    expect(await modes('in/without')).toEqual([0o755, 0o777])
    expect(await modes('in/with')).toEqual([0o4755, 0o1777])
  })

  test('with names that are no UTF-8 arrives without them', async () => {
    await mkdir(at('tree'))
    await writeFile(Buffer.concat([Buffer.from(at('tree/bad')), Buffer.from([0xff])]), '')
    await writeFile(at('tree/good'), '')
    const { refused } = await copy(at('tree'), at('in/copy'))
    expect(refused).toMatchObject([{ why: 'its name is not UTF-8' }])
    expect(await readdir(at('in/copy'))).toEqual(['good'])
  })

  test('of many small files and deep directories arrives whole', async () => {
    for (let i = 0; i < 60; i++) {
      await mkdir(at(`tree/d${i}/e/f`), { recursive: true })
      for (let j = 0; j < 10; j++) await writeFile(at(`tree/d${i}/e/f/${j}`), randomBytes(i * 37 + j))
    }
    const { done } = await copy(at('tree'), at('in/copy'))
    expect(done).toMatchObject({ files: 600, directories: 180 })
    expect(await snapshot(at('in/copy'))).toEqual(await snapshot(at('tree')))
  })
})

describe('a file', () => {
  const content = randomBytes(1_300_001)

  test('arrives under the name that is written, or under its own in a directory', async () => {
    await writeFile(at('file'), content, { mode: 0o640 })
    for (const [target, lands] of [
      ['in/renamed', 'in/renamed'],
      ['in', 'in/file'],
    ] as const) {
      const { done } = await copy(at('file'), at(target))
      expect(done).toMatchObject({
        target: at(lands),
        files: 1,
        bytes: content.length,
        sha256: sha256(content),
      })
      expect((await readFile(at(lands))).equals(content)).toBe(true)
      expect((await lstat(at(lands))).mode & 0o777).toBe(0o640)
      expect(Math.abs((await lstat(at(lands))).mtimeMs - (await lstat(at('file'))).mtimeMs)).toBeLessThan(1)
    }
    expect(await readdir(at('in'))).toEqual(['file', 'renamed'])
  })

  test('takes the place of one that is there, and of a link, not of what it leads to', async () => {
    await writeFile(at('file'), content)
    await writeFile(at('in/file'), 'old')
    await copy(at('file'), at('in'))
    expect((await readFile(at('in/file'))).equals(content)).toBe(true)
    await writeFile(at('precious'), 'mine')
    await rm(at('in/file'))
    await symlink('../precious', at('in/file'))
    await copy(at('file'), at('in'))
    expect(await readFile(at('precious'), 'utf8')).toBe('mine')
    expect((await lstat(at('in/file'))).isFile()).toBe(true)
  })

  test('is not put in the place of a directory, nor where no directory is', async () => {
    await writeFile(at('file'), content)
    await mkdir(at('in/file'))
    await expect(copy(at('file'), at('in'))).rejects.toMatchObject({ code: 'conflict' })
    await expect(copy(at('file'), at('in'), { options: 'exact' })).rejects.toMatchObject({ code: 'conflict' })
    await expect(copy(at('file'), at('in/not/there'))).rejects.toMatchObject({
      code: 'not-found',
      fix: 'Make it first',
    })
  })

  test.each([0, 1, 512, 131_072, 131_073, 5_000_000])('of %i bytes arrives as it was', async size => {
    const bytes = randomBytes(size)
    await writeFile(at('file'), bytes)
    const { done } = await copy(at('file'), at('in'))
    expect(done.sha256).toBe(sha256(bytes))
    expect((await readFile(at('in/file'))).equals(bytes)).toBe(true)
  })

  test('that is no file, or is not there, is refused when it is opened', async () => {
    execFileSync('mkfifo', [at('pipe')])
    await expect(copy(at('pipe'), at('in'))).rejects.toMatchObject({
      code: 'usage',
      fix: 'Name a file or a directory',
    })
    await expect(copy(at('missing'), at('in'))).rejects.toMatchObject({ code: 'not-found' })
  })

  test('passes a network, too', async () => {
    await writeFile(at('file'), content)
    await using relay = await openTestRelay({ targets: [`RECEIVE:${at('in')}`] })
    await using sender = await dialSide(`SEND:${at('file')}`)
    await using receiver = await dialSide(`TCP4:127.0.0.1:${relay.port}`)
    const { done } = await joined(sender, receiver)
    expect(done.sha256).toBe(sha256(content))
    expect((await readFile(at('in/file'))).equals(content)).toBe(true)
  })
})

describe('what changes while it is being read', () => {
  const write = {
    grows: (path: string) => appendFile(path, 'more'),
    shrinks: (path: string) => truncate(path, 1_000_000),
  }

  for (const [way, change] of Object.entries(write)) {
    test(`is left out of a directory if it ${way}`, async () => {
      await mkdir(at('tree'))
      await writeFile(at('tree/log'), randomBytes(9_000_000))
      await writeFile(at('tree/still'), 'still')
      let changing: Promise<void> | undefined
      const { done, refused } = await copy(at('tree'), at('in/copy'), {
        heard: (_, piece) => {
          if ('data' in piece) changing ??= change(at('tree/log'))
        },
      })
      await changing
      expect(refused).toMatchObject([
        { path: 'log', code: 'conflict', why: 'it was changed while it was being read' },
      ])
      expect(done.files).toBe(1)
      expect(await readdir(at('in/copy'))).toEqual(['still'])
    })
  }

  test('fails if it is the only file, and leaves what was there', async () => {
    await writeFile(at('log'), randomBytes(9_000_000))
    await writeFile(at('in/log'), 'as before')
    let changing: Promise<void> | undefined
    const copying = copy(at('log'), at('in'), {
      heard: (_, piece) => {
        if ('data' in piece) changing ??= write.grows(at('log'))
      },
    })
    await expect(copying).rejects.toMatchObject({ code: 'conflict' })
    await changing
    expect(await readdir(at('in'))).toEqual(['log'])
    expect(await readFile(at('in/log'), 'utf8')).toBe('as before')
  })
})

describe('a dry run', () => {
  test('says what would be made and what replaced, and writes nothing', async () => {
    await makeTree(at('tree'), randomBytes)
    await mkdir(at('in/tree/sub/run'), { recursive: true })
    await writeFile(at('in/tree/a.txt'), 'old')
    const before = await snapshot(at('in'))
    const { done, messages, refused, bytes } = await copy(at('tree'), at('in'), { options: 'dry-run' })
    const listed = messages.flatMap(m => (m.is === 'list' ? m.entries : []))
    const answers = messages.flatMap(m => (m.is === 'answers' ? m.answers : []))
    const said = Object.fromEntries(listed.map(({ path }, i) => [path, answers[i]?.is]))
    expect(said).toMatchObject({ 'a.txt': 'replaced', sub: 'there', 'sub/run': 'refused', nothing: 'new' })
    expect(refused).toMatchObject([{ path: 'sub/run', code: 'conflict' }])
    expect([done.target, bytes]).toEqual([at('in/tree'), 0])
    expect(await snapshot(at('in'))).toEqual(before)
  })

  test('makes nothing where nothing is yet', async () => {
    await makeTree(at('tree'), randomBytes)
    const { messages } = await copy(at('tree'), at('in/copy'), { options: 'dry-run' })
    const answers = messages.flatMap(m => (m.is === 'answers' ? m.answers : []))
    expect(new Set(answers.map(({ is }) => is))).toEqual(new Set(['new']))
    expect(await readdir(at('in'))).toEqual([])
  })
})

needing('root')(
  'a directory that cannot be read, and a file, are left out, and the rest arrives',
  async () => {
    await makeTree(at('tree'), randomBytes)
    await chmod(at('tree/sub'), 0o000)
    await chmod(at('tree/a.txt'), 0o000)
    process.setegid?.(65_534)
    process.seteuid?.(65_534)
    try {
      await expect(copy(at('tree'), at('in/copy'))).rejects.toMatchObject({ code: 'denied' })
    } finally {
      process.seteuid?.(0)
      process.setegid?.(0)
    }
    await chmod(folder.path, 0o755)
    await chmod(at('in'), 0o777)
    process.setegid?.(65_534)
    process.seteuid?.(65_534)
    try {
      const { refused, done } = await copy(at('tree'), at('in/copy'))
      expect(refused.map(({ path, code }) => `${path} ${code}`).sort()).toEqual([
        'a.txt denied',
        'empty denied',
        'sub denied',
      ])
      expect(done.files).toBe(2)
      expect(await readlink(at('in/copy/link'))).toBe('sub/large')
    } finally {
      process.seteuid?.(0)
      process.setegid?.(0)
    }
  },
)
