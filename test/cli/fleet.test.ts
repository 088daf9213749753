import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, connect as dial, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fleetcat, start } from './running.ts'

/** One whole fleet for this file: `fleetcat up`, with an echo server to relay to. */
let home: string
let fleet: ReturnType<typeof start>
let echo: Server
const served = new Set<Socket>()

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'fleetcat-up-'))
  echo = createServer(socket => {
    served.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => served.delete(socket))
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  fleet = start(['up', '--listen', '127.0.0.1:0', '--log-level', 'warn'], { home })
  const { code, stderr } = await run('status', '--wait', '15s')
  if (code !== 0) throw new Error(`${stderr}\n${fleet.stderr()}`)
})

afterAll(async () => {
  const code = await fleet.stop('SIGTERM')
  for (const socket of served) socket.destroy()
  await new Promise(resolve => echo.close(resolve))
  await rm(home, { recursive: true, force: true })
  expect(code).toBe(0)
})

const run = (...words: string[]) => fleetcat(words, { home })
const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
const target = () => `TCP4:127.0.0.1:${(echo.address() as { port: number }).port}`

async function answer(...words: string[]) {
  const { code, stdout, stderr } = await run(...words, '-o', 'json')
  expect(stderr).toBe('')
  return { code, item: JSON.parse(stdout) }
}

/** Makes a ready relay and answers the port on which it listens. */
async function relay(name: string, ...options: string[]): Promise<number> {
  const { code, item } = await answer('create', name, listen, target(), '--wait', ...options)
  expect(code).toBe(0)
  return Number(item.status.agents[0].local[0].split(':').at(-1))
}

async function connection(port: number): Promise<Socket> {
  const socket = dial(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write('hello')
  const [chunk] = await once(socket, 'data')
  expect(String(chunk)).toBe('hello')
  return socket
}

/** A cut connection is reset, which is an error to the socket and none to the test. */
const end = (socket: Socket) => new Promise<void>(resolve => socket.once('close', () => resolve()))

/** Asks again until the answer is as expected; the agent reports its connections in batches. */
async function eventually<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  const deadline = performance.now() + 10_000
  for (;;) {
    const answer = await ask()
    if (holds(answer)) return answer
    if (performance.now() > deadline) throw new Error(`it stayed at ${JSON.stringify(answer)}`)
  }
}

describe('up', () => {
  test('makes its user the admin, and says what to try', async () => {
    const { item } = await answer('whoami')
    expect(item).toMatchObject({ kind: 'Operator', role: 'admin' })
    expect(fleet.stderr()).toContain('fleetcat create web')
    const { item: status } = await answer('status')
    expect(status).toMatchObject({
      kind: 'Status',
      agents: { joined: 1, attached: 1 },
      you: { role: 'admin' },
    })
  })

  test('keeps every key for its owner alone', async () => {
    const files = await readdir(home, { recursive: true, withFileTypes: true })
    for (const file of files.filter(file => file.name.endsWith('.pem'))) {
      const { stat } = await import('node:fs/promises')
      expect((await stat(join(file.parentPath, file.name))).mode & 0o077).toBe(0)
    }
  })

  test('runs an agent called local', async () => {
    const { item } = await answer('agents')
    expect(item).toMatchObject({
      kind: 'AgentList',
      items: [{ kind: 'Agent', metadata: { name: 'local' }, status: { state: 'ready' } }],
    })
  })
})

test('create, use, see, revoke: the life of a relay', async () => {
  const port = await relay('life', '--label', 'team=web')
  const socket = await connection(port)
  const { items } = await eventually(
    async () => (await answer('connections', '--relay', 'life')).item,
    ({ items }) => items.length === 1,
  )
  expect(items[0]).toMatchObject({
    relay: 'life',
    agent: 'local',
    source: expect.stringMatching(/^127\.0\.0\.1:/),
  })
  const { item: described } = await answer('describe', `conn/${items[0].id}`)
  expect(described).toMatchObject({ kind: 'Connection', id: items[0].id })

  const closed = end(socket)
  const { code, item } = await answer('revoke', 'relay/life', '--reason', 'the test is over')
  expect(code).toBe(0)
  expect(item).toMatchObject({
    apiVersion: 'fleetcat/v1',
    kind: 'Revocation',
    target: 'relay/life',
    reason: 'the test is over',
    receipts: [{ agent: 'local', verdict: 'cut', listenersClosed: 1, connectionsCut: 1, fencedBy: null }],
  })
  await closed
  const refused = dial(port, '127.0.0.1')
  const [error] = await once(refused, 'error')
  expect(error.code).toBe('ECONNREFUSED')

  const again = await run('revoke', 'relay/life')
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('relay/life already revoked') })
  expect(await run('wait', 'relay/life', '--for', 'revoked')).toMatchObject({ code: 0 })
  const { item: list } = await answer('revocations')
  expect(list.items.map(({ id }: { id: string }) => id)).toContain(item.id)
})

test('a wait for a revocation is about the relay that is there now', async () => {
  const port = await relay('again')
  expect((await run('revoke', 'relay/again')).code).toBe(0)
  expect((await run('wait', 'relay/again', '--for', 'revoked')).code).toBe(0)
  expect(await relay('again')).not.toBe(port)
  expect(await run('wait', 'relay/again', '--for', 'revoked', '--timeout', '300ms')).toMatchObject({
    code: 7,
    stdout: '',
    stderr: expect.stringContaining('relay/again: it was not revoked within 300ms'),
  })
  await using waiting = start(['wait', 'relay/again', '--for', 'revoked', '-o', 'json'], { home })
  let said = ''
  waiting.child.stdout.on('data', chunk => {
    said += chunk
  })
  const { item } = await answer('revoke', 'relay/again')
  expect(await waiting.exited()).toBe(0)
  expect(JSON.parse(said).id).toBe(item.id)
})

test('one connection can be cut, and the relay goes on', async () => {
  const port = await relay('cutting')
  const [one, other] = [await connection(port), await connection(port)]
  const { items } = await eventually(
    async () => (await answer('connections', '--relay', 'cutting')).item,
    ({ items }) => items.length === 2,
  )
  const [local] = [`127.0.0.1:${one.localPort}`]
  const { id } = items.find(({ source }: { source: string }) => source === local)
  const closed = end(one)
  expect(await run('revoke', `conn/${id}`, '--dry-run')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('cutting 1 connection'),
  })
  expect((await run('revoke', `conn/${id}`)).code).toBe(0)
  await closed
  other.write('still here')
  expect(String((await once(other, 'data'))[0])).toBe('still here')
  const ended = end(other)
  other.destroy()
  await ended
  expect((await run('revoke', 'relay/cutting')).code).toBe(0)
})

describe('a source', () => {
  test('is shut out of every relay at once, until it is lifted', async () => {
    const port = await relay('shutting')
    const socket = await connection(port)
    await eventually(
      async () => (await answer('connections', '--relay', 'shutting')).item,
      ({ items }) => items.length === 1,
    )
    const preview = await run('revoke', 'source/127.0.0.0/8', '--dry-run')
    expect(preview).toMatchObject({ code: 0, stdout: expect.stringContaining('cutting 1 connection') })
    const closed = end(socket)
    const { code, item } = await answer('revoke', 'source/127.0.0.0/8', '--lock', '1h')
    expect({ code, item }).toMatchObject({
      code: 0,
      item: {
        target: 'source/127.0.0.0/8',
        state: 'active',
        receipts: [{ agent: 'local', verdict: 'cut', connectionsCut: 1 }],
      },
    })
    await closed
    const refused = dial(port, '127.0.0.1').on('error', () => {})
    await end(refused)
    const { item: active } = await answer('revocations', '--active', '--target', 'source/127.0.0.1')
    expect(active.items).toEqual([expect.objectContaining({ id: item.id, state: 'active' })])
    expect(await run('describe', `revocation/${item.id}`)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /Target: +source\/127\.0\.0\.0\/8\n[\s\S]*Lock until: [\s\S]*local +cut \(1 connection/,
      ),
    })
    expect(await run('describe', 'revocation/v-none')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('`fleetcat revocations` shows'),
    })
    expect(await run('wait', 'source/127.0.0.0/8', '--for', 'revoked')).toMatchObject({ code: 0 })
    expect(await run('lift', item.id)).toMatchObject({ code: 0, stdout: expect.stringContaining('lifted') })
    expect(await run('lift', item.id)).toMatchObject({ code: 0, stdout: expect.stringContaining('any more') })
    const back = await connection(port)
    back.write('hello')
    expect(String((await once(back, 'data'))[0])).toBe('hello')
    const ended = end(back)
    back.destroy()
    await ended
    expect((await run('revoke', 'relay/shutting')).code).toBe(0)
  })
})

describe('relays that are chosen', () => {
  test('by label, kind and age end together; none that matches is exit 4', async () => {
    await relay('one', '--label', 'chosen=yes')
    await relay('two', '--label', 'chosen=yes')
    await relay('three')
    expect((await run('revoke', '-l', 'chosen=yes', '--older-than', '1h', '--yes')).code).toBe(4)
    expect((await run('revoke', '-l', 'chosen=yes', '--kind', 'UDP', '--yes')).code).toBe(4)
    expect(await run('revoke', '--kind', 'TCPP')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Did you mean'),
    })
    const { code, item } = await answer('revoke', '-l', 'chosen=yes', '--kind', 'TCP', '--yes')
    expect(code).toBe(0)
    expect(item.items.map(({ target }: { target: string }) => target).sort()).toEqual([
      'relay/one',
      'relay/two',
    ])
    expect((await run('revoke', 'relay/three', '--lock', '1h')).code).toBe(0)
    expect(await run('create', 'three', 'TCP4-LISTEN:0,bind=127.0.0.1', 'ECHO')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('locked until'),
    })
  })
})

describe('create', () => {
  test('twice: unchanged when equal, a conflict when not', async () => {
    await relay('twice', '--max-connections', '5')
    expect(await run('create', 'twice', listen, target(), '--max-connections', '5')).toMatchObject({
      code: 0,
      stdout: 'relay/twice unchanged\n',
    })
    expect(await run('create', 'twice', listen, target(), '--max-connections', '6')).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('fleetcat apply'),
    })
  })

  test('what the host does not permit is exit 6, with the line that would permit it', async () => {
    const { code, stdout } = await run(
      'create',
      'open',
      'TCP4-LISTEN:0,bind=0.0.0.0,fork',
      target(),
      '--wait',
    )
    expect(code).toBe(6)
    expect(stdout).toMatch(/local +rejected .*under permit: in agent\.yaml/)
    expect(await run('wait', 'relay/open', '--for', 'ready')).toMatchObject({ code: 6 })
  })

  test('for agents that are not there yet says so, and waiting for it times out', async () => {
    const words = ['create', 'later', '-l', 'site=mars', listen, target()]
    expect(await run(...words)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('No agent matches'),
    })
    expect(await run(...words, '--wait', '--timeout', '200ms')).toMatchObject({ code: 7 })
  })

  test('a dry run makes nothing', async () => {
    expect(await run('create', 'dry', listen, target(), '--dry-run')).toMatchObject({
      code: 0,
      stdout: 'relay/dry would be created (dry run)\n',
    })
    expect((await run('describe', 'relay/dry')).code).toBe(4)
  })
})

describe('files', () => {
  test('export, diff and apply agree', async () => {
    await relay('filed', '--label', 'set=files', '--idle-timeout', '90s', '--allow-from', '127.0.0.0/8')
    const { stdout: exported } = await run('export', '-l', 'set=files')
    const stdin = (words: string[], text: string) => fleetcat(words, { home, stdin: text })
    expect(await stdin(['apply', '-f', '-'], exported)).toMatchObject({
      code: 0,
      stdout: 'relay/filed unchanged\n',
    })
    expect(await stdin(['diff', '-f', '-'], exported)).toMatchObject({ code: 0, stdout: '' })

    const changed = exported.replace('1m30s', '2m')
    const diff = await stdin(['diff', '-f', '-'], changed)
    expect(diff).toMatchObject({ code: 1, stderr: '' })
    expect(diff.stdout).toContain('- spec.limits.idleTimeout: 1m30s\n  + spec.limits.idleTimeout: 2m\n')
    const file = join(home, 'filed.yaml')
    await writeFile(file, changed)
    expect(await run('apply', '-f', file, '--dry-run')).toMatchObject({
      stdout: 'relay/filed updated (dry run)\n',
    })
    expect(await run('apply', '-f', file)).toMatchObject({ code: 0, stdout: 'relay/filed updated\n' })
    expect(await run('diff', '-f', file)).toMatchObject({ code: 0 })

    const other = changed.replace('name: filed', 'name: other')
    const pruned = await stdin(['apply', '-f', '-', '--prune', '-l', 'set=files'], other)
    expect(pruned).toMatchObject({ code: 0, stderr: '' })
    expect(pruned.stdout).toMatch(/relay\/other created/)
    expect(pruned.stdout).toMatch(/relay\/filed pruned/)
  })

  test.each([
    ['apply', '-f', '-'],
    ['apply', '-f', '-', '--prune', '-l', 'set=files'],
    ['diff', '-f', '-'],
  ])('no relay at all is a mistake: %s %s %s %s', async (...words) => {
    await relay('kept', '--label', 'set=files')
    for (const stdin of ['', '# nothing\n---\n', 'apiVersion: fleetcat/v1\nkind: RelayList\nitems: []\n']) {
      expect(await fleetcat(words, { home, stdin })).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('stdin: there is no relay in it'),
      })
    }
    expect((await run('describe', 'relay/kept')).code).toBe(0)
  })

  test('a broken file is an error of diff, not a difference', async () => {
    const { code, stderr } = await fleetcat(['diff', '-f', '-'], { home, stdin: 'kind: Rely\n' })
    expect(code).toBeGreaterThan(1)
    expect(stderr).toContain('stdin:1')
  })
})

describe('who may', () => {
  test('a viewer logs in with a token from stdin, sees, and may not create', async () => {
    const { item: token } = await answer('token', 'create', 'operator', '--name', 'vera', '--role', 'viewer')
    expect(token).toMatchObject({ kind: 'operator', name: 'vera', uses: 1, labels: {} })
    const theirs = await mkdtemp(join(tmpdir(), 'fleetcat-vera-'))
    try {
      const vera = (words: string[], stdin = '') => fleetcat(words, { home: theirs, stdin })
      expect(await vera(['login', '-'], `${token.token}\n`)).toMatchObject({ code: 0 })
      expect(await vera(['list'])).toMatchObject({ code: 0 })
      expect(await vera(['diff', '-f', '-'], (await run('export')).stdout)).toMatchObject({ code: 0 })
      expect(await vera(['dump', 'web'])).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/^fleetcat: looking at what passes .*: vera has the role viewer/),
      })
      expect((await vera(['whoami'])).stdout).toContain('vera, viewer')
      expect(await vera(['create', 'mine', listen, target()])).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/^fleetcat: creating a relay: vera has the role viewer/),
      })
      expect((await vera(['login', token.token])).code).toBe(3)
      expect(await readFile(join(theirs, 'config.yaml'), 'utf8')).not.toContain(token.token)
    } finally {
      await rm(theirs, { recursive: true, force: true })
    }
  })

  test('a token by name is the token itself, for nobody could ask for its secret again', async () => {
    const { stdout, code } = await run('token', 'create', 'agent', '-o', 'name')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^fcat1_\S+\n$/)
  })

  test('a revoked token lets nobody in', async () => {
    const { item } = await answer('token', 'create', 'agent', '--label', 'site=paris')
    expect(item.labels).toEqual({ site: 'paris' })
    expect((await run('token', 'revoke', item.id)).code).toBe(0)
    const { item: list } = await answer('token', 'list')
    expect(list.items.find(({ id }: { id: string }) => id === item.id)).toMatchObject({ state: 'revoked' })
    expect((await run('login', item.token)).code).toBe(2)
  })
})

describe('a filter', () => {
  test('that names what is not there is exit 4 with the nearest name, in a watch too', async () => {
    await relay('nearby')
    for (const words of [
      ['list', '--agent', 'locl'],
      ['connections', '--agent', 'locl'],
      ['list', '-w', '--agent', 'locl'],
    ]) {
      expect(await run(...words)).toMatchObject({
        code: 4,
        stdout: '',
        stderr: expect.stringContaining('Did you mean local?'),
      })
    }
    expect(await run('connections', '--relay', 'nearbi')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('Did you mean nearby?'),
    })
  })

  test('that nothing matches is told from a fleet without relays', async () => {
    expect((await run('list', '-l', 'no=such')).stderr).toBe('No relay matches.\n')
    expect((await run('agents', '-l', 'no=such')).stderr).toBe('No agent matches.\n')
  })
})

describe('watching', () => {
  test('prints a line for each change as JSON lines, until it is interrupted', async () => {
    await using watcher = start(['list', '-w', '-o', 'jsonl', '-l', 'set=watched'], { home })
    const lines = watcher.child.stdout.iterator({ destroyOnReturn: false })
    await relay('watched', '--label', 'set=watched')
    const first = JSON.parse(String((await lines.next()).value).split('\n')[0]!)
    expect(first).toMatchObject({ kind: 'Relay', change: 'added', metadata: { name: 'watched' } })
    expect(await watcher.stop('SIGINT')).toBe(130)
  })

  test('ends quietly when nobody reads any more', async () => {
    await using watcher = start(['list', '-w'], { home })
    await once(watcher.child.stdout, 'data')
    watcher.child.stdout.destroy()
    await relay('unread')
    expect(await watcher.exited()).toBe(0)
    expect(watcher.stderr()).toBe('')
  })
})

test('a controller that is gone is exit 1, and says so', async () => {
  const config = JSON.parse(await readFile(join(home, 'config.yaml'), 'utf8'))
  const gone = { ...config.contexts[0], name: 'gone', addresses: ['127.0.0.1:1'] }
  const { cp } = await import('node:fs/promises')
  await cp(join(home, 'contexts', config.contexts[0].name), join(home, 'contexts', 'gone'), {
    recursive: true,
  })
  await writeFile(
    join(home, 'config.yaml'),
    JSON.stringify({ ...config, contexts: [...config.contexts, gone] }),
  )
  const { code, stderr } = await run('list', '--context', 'gone')
  expect(code).toBe(1)
  expect(stderr).toMatch(/nothing listens at 127\.0\.0\.1:1\. Start it with `fleetcat up`/)
  expect((await run('--context', 'gone', 'status', '--wait', '300ms')).code).toBe(7)
})
