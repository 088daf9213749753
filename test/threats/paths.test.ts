import { fork } from 'node:child_process'
import { mkdir, readdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { rule } from '#agent/rules.ts'
import type { EgressPolicy } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

let scratch: Awaited<ReturnType<typeof openScratch>>
let root: string
const at = (name: string) => join(root, name)

beforeEach(async () => {
  scratch = await openScratch()
  root = await realpath(scratch.path)
  for (const directory of ['permitted/sub', 'secret', 'elsewhere']) {
    await mkdir(at(directory), { recursive: true })
  }
  for (const file of ['permitted/file', 'permitted/sub/file', 'elsewhere/file'])
    await writeFile(at(file), 'harmless')
  await writeFile(at('secret/file'), 'secret')
})
afterEach(() => scratch[Symbol.asyncDispose]())

const ceiling = (...lines: string[]) =>
  openCeiling({ permit: lines.map(line => rule(line, 'the test')), forbid: [] })

async function get(text: string, egress: EgressPolicy): Promise<string> {
  await using channel = await bindAddress(text).dialer!.dial(openContext({ egress, uses: 'read' }))
  return String(await receive(channel.stream))
}

async function put(text: string, egress: EgressPolicy): Promise<void> {
  await using channel = await bindAddress(text).dialer!.dial(openContext({ egress, uses: 'write' }))
  await new Promise<void>(done => channel.stream.once('close', done).end('overwritten', done))
}

const denied = { code: 'denied' }

describe('a line with stars', () => {
  test.each([
    'permitted/../secret/file',
    'permitted/sub/../../secret/file',
    'permitted/./../secret/file',
    'secret/file',
    'permitted',
    'permittedx/file',
  ])('does not permit %s', async path => {
    await expect(
      get(`OPEN:${root}/${path},rdonly`, ceiling(`OPEN:${root}/permitted/**`)),
    ).rejects.toMatchObject(denied)
  })

  test('does not permit what links inside of it lead to, be they files or directories', async () => {
    await symlink(at('secret/file'), at('permitted/link'))
    await symlink('../secret', at('permitted/directory'))
    await symlink('/proc/self/root', at('permitted/root'))
    const egress = ceiling(`OPEN:${root}/permitted/**,creat`)
    for (const path of ['link', 'directory/file', `root${root}/secret/file`]) {
      await expect(get(`OPEN:${root}/permitted/${path}`, egress)).rejects.toMatchObject({
        ...denied,
        what: `OPEN:${root}/secret/file`,
        fix: expect.stringContaining(`add "OPEN:${root}/secret/file" under permit:`),
      })
      await expect(put(`CREATE:${root}/permitted/${path}`, egress)).rejects.toMatchObject(denied)
    }
    await expect(put(`OPEN:${root}/permitted/directory/new,creat`, egress)).rejects.toMatchObject(denied)
    expect(await readdir(at('secret'))).toEqual(['file'])
    expect(await readFile(at('secret/file'), 'utf8')).toBe('secret')
  })

  test('does not permit to make sockets and lock files where links inside of it lead', async () => {
    await symlink('../secret', at('permitted/directory'))
    const egress = ceiling(`UNIX-LISTEN:${root}/permitted/**`, `OPEN:${root}/permitted/**,creat`, 'ECHO')
    const listener = bindAddress(`UNIX-LISTEN:${root}/permitted/directory/socket`)
    await expect(listener.acceptor!.listen(openContext({ egress }))).rejects.toMatchObject(denied)
    await expect(get(`ECHO,lockfile=${root}/permitted/directory/lock`, egress)).rejects.toMatchObject(denied)
    expect(await readdir(at('secret'))).toEqual(['file'])
  })

  test('permits where links of its own fixed part lead, for its writer knows them', async () => {
    await symlink(at('permitted'), at('by-another-name'))
    const egress = ceiling(`OPEN:${root}/by-another-name/**`)
    expect(await get(`OPEN:${root}/by-another-name/sub/file`, egress)).toBe('harmless')
    await expect(get(`OPEN:${root}/permitted/sub/file`, egress)).rejects.toMatchObject(denied)
  })

  test('permits a link that leads to what another line permits', async () => {
    await symlink(at('elsewhere/file'), at('permitted/link'))
    const egress = ceiling(`OPEN:${root}/permitted/**`, `OPEN:${root}/elsewhere/*,rdonly`)
    expect(await get(`OPEN:${root}/permitted/link,rdonly`, egress)).toBe('harmless')
    await expect(get(`OPEN:${root}/permitted/link`, egress)).rejects.toMatchObject(denied)
  })
})

test('a swapper of links and directories opens nothing that is not permitted', async () => {
  const swapper = fork(join(import.meta.dirname, 'link-swapper.ts'), [root])
  try {
    await new Promise(resolve => swapper.once('message', resolve))
    const lines = ['OPEN', 'HTTP-FILE'].map(kind => `${kind}:${root}/permitted/**`)
    const egress = ceiling(...lines, `OPEN:${root}/permitted/**,creat,unlink-early`)
    const reads = ['permitted/swapped', 'permitted/place/file'].map(path => `OPEN:${at(path)},rdonly`)
    const writes = [
      `OPEN:${at('permitted/swapped')},append`,
      `CREATE:${at('permitted/place/file')}`,
      `OPEN:${at('permitted/place/new')},creat,trunc,unlink-early`,
    ]
    const seen = new Map<string, number>()
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
    const outcome = (error: { code?: string }) => count(error.code ?? 'unknown')
    const deadline = performance.now() + 2_000
    while (performance.now() < deadline) {
      await Promise.all([
        ...reads.map(text => get(text, egress).then(count, outcome)),
        ...writes.map(text => put(text, egress).then(() => count('written'), outcome)),
      ])
    }
    expect([...seen.keys()].filter(what => what.includes('secret'))).toEqual([])
    expect(seen.get('denied') ?? 0).toBeGreaterThan(0)
    expect(seen.get('written') ?? 0).toBeGreaterThan(0)
    expect(await readdir(at('secret'))).toEqual(['file'])
    expect(await readFile(at('secret/file'), 'utf8')).toBe('secret')
  } finally {
    swapper.kill('SIGKILL')
    await until('the swapper has gone', () => swapper.exitCode !== null || swapper.signalCode !== null)
  }
})
