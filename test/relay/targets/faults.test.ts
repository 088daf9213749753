import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { balances } from '#relay/targets/balance.ts'
import { askTimes, openBackend, openHttpBackend } from '#test/resources/backends.ts'
import { needing } from '#test/resources/needs.ts'
import { type Network, openNetwork } from '#test/resources/netns.ts'
import { freePort } from '#test/resources/ports.ts'
import { root, run, startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { exchange, openClient, openServer } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

type Host = Network['hosts'][number]

/** A port whose kernel drops whoever wants to connect, as a host that is cut off. */
async function openStuck(port: number) {
  const program = startProgram(['python3', join(root, 'test/resources/full-backlog.py'), String(port)])
  await program.says(/full/)
  return {
    program,
    target: `TCP4:127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

describe('a target that never answers', () => {
  needing('python3')(
    'is given up after its connect-timeout, and the next one is tried, in every balance',
    async () => {
      await using stuck = await openStuck(await freePort())
      await using good = await openBackend('good')
      const targets = [`${stuck.target},connect-timeout=0.1`, good.target]
      for (const balance of balances) {
        await using test = await openTestRelay({ targets, balance })
        expect(await askTimes(test.port, 4)).toEqual(Array(4).fill('good'))
        expect(test.failed).toEqual([])
      }
    },
  )

  needing('python3')(
    'keeps one client waiting and not the next, and is tried again when it has come back',
    async () => {
      await using good = await openBackend('good')
      await using back = await openBackend('back')
      await back.die()
      await using stuck = await openStuck(back.port)
      const targets = [`${stuck.target},connect-timeout=0.3`, good.target]
      await using test = await openTestRelay({ targets })
      expect(await askTimes(test.port, 5)).toEqual(Array(5).fill('good'))
      expect(test.relay.targets[0]).toMatchObject({ failures: 1, error: { code: 'timed-out' } })
      await stuck[Symbol.asyncDispose]()
      await back.live()
      await until('it is tried again', async () => (await exchange(test.port, '')) === 'back')
      expect(await askTimes(test.port, 3)).toEqual(['back', 'back', 'back'])
    },
  )

  needing('python3')('fails its client in the end when it is the only one, and is counted', async () => {
    await using stuck = await openStuck(await freePort())
    await using test = await openTestRelay({ targets: [`${stuck.target},connect-timeout=0.1`] })
    expect(await askTimes(test.port, 2)).toEqual(['reset', 'reset'])
    expect(test.failed).toMatchObject([{ code: 'timed-out' }, { code: 'timed-out' }])
    expect(test.relay.targets[0]).toMatchObject({ failures: 2, total: 0, connections: 0 })
  })
})

describe('a target that resets', () => {
  const openResetting = () => openServer(socket => void socket.resetAndDestroy())

  test('as soon as it is connected to leaves its client reset or with another target, and never waiting', async () => {
    await using resetting = await openResetting()
    await using good = await openBackend('good')
    const targets = [`TCP4:127.0.0.1:${resetting.port}`, good.target]
    await using test = await openTestRelay({ targets, balance: 'round-robin' })
    const answers = await askTimes(test.port, 6)
    expect(answers.filter(answer => answer === 'good').length).toBeGreaterThanOrEqual(3)
    expect(answers.filter(answer => answer !== 'good' && answer !== 'reset')).toEqual([])
    await until('all is over', () => test.relay.connections.size === 0)
    expect(test.relay.targets.map(({ connections }) => connections)).toEqual([0, 0])
  })

  test('once it hears something resets its client, and the others are served', async () => {
    await using resetting = await openServer(socket =>
      socket.once('data', () => socket.resetAndDestroy()).resume(),
    )
    await using good = await openBackend('good')
    const targets = [`TCP4:127.0.0.1:${resetting.port}`, good.target]
    await using test = await openTestRelay({ targets, balance: 'round-robin' })
    const answers: string[] = []
    for (let i = 0; i < 4; i++) answers.push(await exchange(test.port, 'hello'))
    expect(answers).toEqual(['reset', 'good', 'reset', 'good'])
  })

  test('is found out by checks that ask, and then gets nobody', async () => {
    await using resetting = await openResetting()
    await using good = await openHttpBackend((_, response) => response.end('good'))
    const targets = [`TCP4:127.0.0.1:${resetting.port}`, good.target]
    const health = { http: '/', intervalMs: 10, timeoutMs: 2_000, rise: 1, fall: 1 }
    await using test = await openTestRelay({ targets, balance: 'least-connections', health })
    await until('both are known', () => test.health.length >= 2)
    expect(test.relay.targets.map(({ health }) => health)).toEqual(['down', 'up'])
    for (const answer of await Promise.all(
      [1, 2, 3].map(() => exchange(test.port, 'GET / HTTP/1.0\r\n\r\n')),
    ))
      expect(answer).toContain('good')
  })
})

describe.each(balances)('half-closing, with %s', balance => {
  const twice = (port: number) => [`TCP4:127.0.0.1:${port}`, `TCP4:127.0.0.1:${port}`]

  test('the client first: the answer still comes', async () => {
    await using server = await openServer(async socket => socket.end(`heard ${await receive(socket)}`))
    await using test = await openTestRelay({ targets: twice(server.port), balance })
    await using client = await openClient(test.port)
    client.end('all')
    expect(String(await receive(client))).toBe('heard all')
  })

  test('the server first: what the client still says arrives', async () => {
    const { promise: heard, resolve } = Promise.withResolvers<string>()
    await using server = await openServer(async socket => {
      socket.end('enough')
      resolve(String(await receive(socket)))
    })
    await using test = await openTestRelay({ targets: twice(server.port), balance })
    await using client = await openClient(test.port)
    client.resume()
    await once(client, 'end')
    client.end('but listen')
    expect(await heard).toBe('but listen')
    await until('it is over', () => test.closed.length === 1)
    expect(test.closed[0]).toMatchObject({ cause: 'eof' })
    expect(test.relay.targets.map(({ connections }) => connections)).toEqual([0, 0])
  })
})

test('when every target is dead each client is told at once, and served as soon as one lives', async () => {
  await using a = await openBackend('a')
  await using b = await openBackend('b')
  await Promise.all([a.die(), b.die()])
  await using test = await openTestRelay({ targets: [a.target, b.target], balance: 'round-robin' })
  expect(await askTimes(test.port, 3)).toEqual(['reset', 'reset', 'reset'])
  await b.live()
  expect(await askTimes(test.port, 3)).toEqual(['b', 'b', 'b'])
})

test('a target that dies in mid-conversation ends that one; the next goes elsewhere', async () => {
  await using a = await openBackend('a')
  await using b = await openBackend('b')
  await using test = await openTestRelay({ targets: [a.target, b.target] })
  await using client = await openClient(test.port)
  await once(client, 'data')
  const gone = once(client, 'end')
  await a.die()
  await gone
  client.end()
  await until('it is over', () => test.closed.length === 1)
  expect(await askTimes(test.port, 2)).toEqual(['b', 'b'])
  expect(test.relay.targets).toMatchObject([{ total: 1, connections: 0 }, { total: 2 }])
})

needing(
  'root',
  'ip',
  'nft',
  'socat',
)(
  'a host behind a firewall that drops is found down without an answer, and up when the firewall opens',
  async () => {
    await using network = await openNetwork(3)
    const [here, one, two] = network.hosts as [Host, Host, Host]
    await using held = new AsyncDisposableStack()
    for (const [name, { netns }] of Object.entries({ one, two })) {
      const server = held.use(
        startProgram(['socat', '-d', '-d', 'TCP4-LISTEN:80,fork,reuseaddr', `SYSTEM:echo ${name}`], {
          netns,
        }),
      )
      await server.says(/listening/)
    }
    const targets = [one, two].map(({ ip }) => `TCP4:${ip}:80,connect-timeout=1`)
    const command = [
      'node',
      join(root, 'test/relay/programs/balanced.ts'),
      'TCP4-LISTEN:8080,bind=127.0.0.1,fork',
      ...targets,
    ]
    const relay = held.use(startProgram(command, { netns: here.netns, cwd: root }))
    await relay.says(new RegExp(`up ${targets[0]}`))
    const ask = async () =>
      (await run(['socat', '-T', '5', '-u', 'TCP4:127.0.0.1:8080', '-'], { netns: here.netns })).stdout
    const nft = async (...words: string[]) => {
      const { code, stderr } = await run(['nft', ...words], { netns: one.netns })
      if (code !== 0) throw new Error(stderr)
    }
    expect(await ask()).toBe('one\n')
    await nft(
      'add table inet closed; add chain inet closed in { type filter hook input priority 0; policy drop; }',
    )
    await relay.says(new RegExp(`down ${targets[0]}`))
    expect(await ask()).toBe('two\n')
    await nft('delete table inet closed')
    await relay.says(new RegExp(`down ${targets[0]}[^]*up ${targets[0]}`))
    expect(await ask()).toBe('one\n')
  },
  60_000,
)
