import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { fleetcat, start, temporary } from './running.ts'

const short = 'certificates:\n  operator: 6s\n'

/** A controller by itself, with certificates so short that renewals happen while a test looks on. */
async function controller(home: string, ...options: string[]) {
  const config = join(home, 'controller.yaml')
  await writeFile(config, short)
  const words = [
    'controller',
    '--listen',
    '127.0.0.1:0',
    '--config',
    config,
    '--log-level',
    'warn',
    ...options,
  ]
  const running = start(words, { home })
  const { code, stderr } = await fleetcat(['status', '--wait', '15s'], { home })
  if (code === 0) return running
  await running[Symbol.asyncDispose]()
  throw new Error(`${stderr}\n${running.stderr()}`)
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 12_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('it did not happen in time')
    await pause(20)
  }
}

const identityOf = (home: string, context: string) =>
  readFile(join(home, 'contexts', context, 'identity.pem'), 'utf8')

async function answer(home: string, ...words: string[]) {
  const { code, stdout, stderr } = await fleetcat([...words, '-o', 'json'], { home })
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

describe('an operator’s certificate', () => {
  test('is renewed by the command that finds it past its half-life, with a fresh key', async () => {
    await using home = await temporary()
    await using theirs = await temporary()
    await using _ = await controller(home.path)
    const { token } = await answer(home.path, 'token', 'create', 'operator', '--name', 'ana')
    expect(
      (await fleetcat(['login', '-', '--context', 'prod'], { home: theirs.path, stdin: token })).code,
    ).toBe(0)
    const first = await identityOf(theirs.path, 'prod')
    await until(async () => {
      const { code, stderr } = await fleetcat(['list'], { home: theirs.path })
      expect({ code, stderr }).toMatchObject({ code: 0 })
      return (await identityOf(theirs.path, 'prod')) !== first
    })
    const renewed = await identityOf(theirs.path, 'prod')
    const key = (pem: string) => /-----BEGIN PRIVATE KEY-----[^-]+/.exec(pem)?.[0]
    expect(key(renewed)).not.toBe(key(first))
    expect(await answer(theirs.path, 'whoami')).toMatchObject({ name: 'ana', role: 'operator' })
  })

  test('says what to run once it has expired', async () => {
    await using home = await temporary()
    await using theirs = await temporary()
    await using _ = await controller(home.path)
    const { token } = await answer(home.path, 'token', 'create', 'operator', '--name', 'ana')
    await fleetcat(['login', token], { home: theirs.path })
    const { expiresAt } = await answer(theirs.path, 'whoami')
    await until(async () => Date.parse(expiresAt) < Date.now())
    const last = await fleetcat(['list'], { home: theirs.path })
    expect(last).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/start `fleetcat controller` again.*token create operator --name ana/),
    })
  })

  test('is kept fresh for the user who runs the controller', async () => {
    await using home = await temporary()
    await using _ = await controller(home.path)
    const [context] = (await answer(home.path, 'contexts')).items
    const first = await identityOf(home.path, context.name)
    await until(async () => (await identityOf(home.path, context.name)) !== first)
    expect((await fleetcat(['whoami'], { home: home.path })).code).toBe(0)
  })
})

test('an agent joins with a token from a file, reads its file again on SIGHUP, and both stop when asked', async () => {
  await using home = await temporary()
  await using running = await controller(home.path)
  const { token } = await answer(
    home.path,
    'token',
    'create',
    'agent',
    '--name',
    'edge-1',
    '--label',
    'site=paris',
  )
  const file = join(home.path, 'token.txt')
  await writeFile(file, `${token}\n`, { mode: 0o600 })
  const data = join(home.path, 'edge-1')
  const words = ['agent', '--token-file', file, '--data', data, '--label', 'rack=7', '--log-level', 'info']
  await using agent = start(words, { home: home.path })
  const agents = async () => (await answer(home.path, 'agents')).items
  await until(async () => (await agents())[0]?.status.state === 'ready')
  expect((await agents())[0]).toMatchObject({
    metadata: { name: 'edge-1', labels: { site: 'paris' }, hostLabels: { rack: '7' } },
  })

  const listen = 'TCP4-LISTEN:0,bind=0.0.0.0,fork'
  const created = await fleetcat(['create', 'open', listen, 'TCP4:127.0.0.1:9', '--wait'], {
    home: home.path,
  })
  expect(created.code).toBe(6)
  await writeFile(join(data, 'agent.yaml'), 'permit:\n- TCP-LISTEN:0.0.0.0:*\n')
  agent.child.kill('SIGHUP')
  await until(
    async () => (await fleetcat(['wait', 'relay/open', '--for', 'ready'], { home: home.path })).code === 0,
  )

  await writeFile(join(data, 'agent.yaml'), 'permt: []\n')
  agent.child.kill('SIGHUP')
  await until(async () => agent.stderr().includes('permt'))
  expect((await fleetcat(['wait', 'relay/open', '--for', 'ready'], { home: home.path })).code).toBe(0)

  expect(await agent.stop('SIGTERM')).toBe(0)
  await until(async () => (await agents())[0]?.status.state === 'unreachable')
  for (const words of [['connections'], ['connections', '--relay', 'open', '-o', 'json']]) {
    const { code, stderr } = await fleetcat(words, { home: home.path })
    expect({ code, stderr: stderr.split('\n').slice(-2) }).toEqual({
      code: 0,
      stderr: ['edge-1 is unreachable; its connections are unknown', ''],
    })
  }
  const away = [
    'create',
    'away',
    listen,
    'TCP4:127.0.0.1:9',
    '--on',
    'edge-1',
    '--wait',
    '--timeout',
    '200ms',
  ]
  expect(await fleetcat(away, { home: home.path })).toMatchObject({
    code: 6,
    stderr: expect.stringContaining('unreachable: edge-1'),
  })
  expect(await running.stop('SIGINT')).toBe(130)
})

test('a watch that loses its controller says so, and goes on when there is one again', async () => {
  await using home = await temporary()
  const first = await controller(home.path)
  const { token } = await answer(home.path, 'token', 'create', 'agent', '--name', 'edge-1')
  const words = ['agent', '--join', token, '--data', join(home.path, 'edge-1'), '--log-level', 'error']
  await using _agent = start(words, { home: home.path })
  const [address] = (await answer(home.path, 'status')).addresses
  await using watcher = start(['agents', '-w', '-o', 'jsonl'], { home: home.path })
  let seen = ''
  watcher.child.stdout.on('data', chunk => {
    seen += chunk
  })
  await until(async () => seen.includes('"state":"ready"'))
  await first.stop('SIGTERM')
  await until(async () => watcher.stderr().includes('the controller is gone'))
  seen = ''
  await using _second = await controller(home.path, '--listen', address)
  await until(async () => seen.includes('"change":"changed"') && seen.includes('"state":"ready"'))
  expect(await watcher.stop('SIGINT')).toBe(130)
  expect(watcher.stderr().match(/is gone/g)).toHaveLength(1)
})

test('a second `up` finds its agent and its admin again, wherever it listens now', async () => {
  await using home = await temporary()
  const words = ['up', '--listen', '127.0.0.1:0', '--log-level', 'warn']
  const ids: string[] = []
  for (let round = 0; round < 2; round++) {
    await using _ = start(words, { home: home.path })
    expect(await fleetcat(['status', '--wait', '15s'], { home: home.path })).toMatchObject({ code: 0 })
    ids.push((await answer(home.path, 'status')).cluster)
    const { items } = await answer(home.path, 'token', 'list')
    expect(items).toHaveLength(1)
  }
  expect(ids[0]).toBe(ids[1])
})

test('a port that is taken is said, and nothing stays behind', async () => {
  await using home = await temporary()
  await using running = await controller(home.path)
  const [address] = (await answer(home.path, 'status')).addresses
  await using other = await temporary()
  const { code, stderr } = await fleetcat(['up', '--listen', address], { home: other.path })
  expect(code).toBe(5)
  expect(stderr).toMatch(/EADDRINUSE/)
  expect(running.child.exitCode).toBe(null)
})
