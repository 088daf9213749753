import { describe, expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'
import { askTimes, openBackend, openHttpBackend } from '#test/resources/backends.ts'
import { openTestRelay, startRelay, type TestRelay } from '#test/resources/relays.ts'
import { openServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'

const quick = { intervalMs: 10, timeoutMs: 2_000, rise: 2, fall: 3 }
const revoked = new RelayError('revoked', { what: 'the relay', why: 'the test says so' })

const health = ({ relay }: TestRelay, nth = 0) => relay.targets[nth]!.health
const becomes = (test: TestRelay, state: string, nth = 0) =>
  until(`target ${nth} is ${state}`, () => health(test, nth) === state)

describe('a check that connects', () => {
  test('sees a backend die and come back, and says so each time', async () => {
    await using backend = await openBackend('a')
    await using test = await openTestRelay({ targets: [backend.target], health: quick })
    await becomes(test, 'up')
    await backend.die()
    await becomes(test, 'down')
    expect(test.relay.targets[0]!.error).toMatchObject({ code: 'refused' })
    const { since } = test.relay.targets[0]!
    await backend.live()
    await becomes(test, 'up')
    expect(test.relay.targets[0]).toMatchObject({ error: undefined, failures: 0, total: 0 })
    expect(test.relay.targets[0]!.since.getTime()).toBeGreaterThanOrEqual(since.getTime())
    expect(test.health).toEqual(['up', 'down', 'up'].map(state => `${state} ${backend.target}`))
  })

  test('asks the egress policy as connections do', async () => {
    await using backend = await openBackend('a')
    const egress = {
      check() {
        throw new RelayError('denied', { what: 'the target', why: 'the test says so' })
      },
    }
    await using test = await openTestRelay({ targets: [backend.target], health: quick, egress })
    await becomes(test, 'down')
    expect(test.relay.targets[0]!.error).toMatchObject({ code: 'denied' })
    expect(backend.met).toBe(0)
  })

  test('is bounded by its timeout even where the address asks for tries without end', async () => {
    await using backend = await openBackend('a')
    await backend.die()
    const targets = [`${backend.target},forever,interval=0.001`]
    await using test = await openTestRelay({ targets, health: { ...quick, timeoutMs: 50 } })
    await becomes(test, 'down')
    expect(test.relay.targets[0]!.error).toMatchObject({
      code: 'timed-out',
      why: expect.stringMatching(/refused/),
    })
  })

  test.each(['MEMORY', 'UNIX'])('works over %s', async kind => {
    const name = `health-${process.pid}`
    const listen = kind === 'MEMORY' ? `MEMORY-LISTEN:${name},fork` : `ABSTRACT-LISTEN:${name},fork`
    await using _backend = await openTestRelay({ listen, targets: ['ECHO'] })
    const target = kind === 'MEMORY' ? `MEMORY:${name}` : `ABSTRACT-CONNECT:${name}`
    await using test = await openTestRelay({ targets: [target], health: quick })
    await becomes(test, 'up')
  })
})

describe('a check that asks over HTTP', () => {
  test.each([200, 204, 301, 399])('takes %i for good', async status => {
    await using backend = await openHttpBackend((_, response) => response.writeHead(status).end())
    await using test = await openTestRelay({ targets: [backend.target], health: { ...quick, http: '/' } })
    await becomes(test, 'up')
  })

  test.each([400, 404, 500, 503])('takes %i for bad', async status => {
    await using backend = await openHttpBackend((_, response) => response.writeHead(status).end())
    await using test = await openTestRelay({ targets: [backend.target], health: { ...quick, http: '/' } })
    await becomes(test, 'down')
    expect(test.relay.targets[0]!.error).toMatchObject({
      code: 'unavailable',
      why: `it answered HTTP ${status}`,
    })
  })

  test('sends a GET for the path, to the host of the target', async () => {
    const asked: unknown[] = []
    await using backend = await openHttpBackend(({ method, url, headers }, response) => {
      asked.push([method, url, headers.host, headers.connection])
      response.end()
    })
    await using test = await openTestRelay({
      targets: [backend.target],
      health: { ...quick, http: '/healthz?deep=1' },
    })
    await becomes(test, 'up')
    expect(asked[0]).toEqual(['GET', '/healthz?deep=1', '127.0.0.1', 'close'])
  })

  test('reads no more of an endless answer than its status', async () => {
    await using backend = await openHttpBackend((_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) {}
      }
      response.on('drain', more)
      more()
    })
    await using test = await openTestRelay({ targets: [backend.target], health: { ...quick, http: '/' } })
    await becomes(test, 'up')
    await until('nothing is left open', () => backend.sockets.size <= 1)
  })

  test.each([
    ['says something else', 'SSH-2.0-OpenSSH_9.6\r\n', 'unavailable', /does not answer in HTTP/],
    ['says nothing and leaves', '', 'reset', /reset/],
  ])('takes a server down that %s', async (_, words, code, why) => {
    await using backend = await openServer(socket => socket.resume().end(words))
    await using test = await openTestRelay({
      targets: [`TCP4:127.0.0.1:${backend.port}`],
      health: { ...quick, http: '/' },
    })
    await becomes(test, 'down')
    expect(test.relay.targets[0]!.error).toMatchObject({ code, why: expect.stringMatching(why) })
  })

  test('takes a server down that accepts and never answers', async () => {
    await using backend = await openServer(socket => socket.resume())
    await using test = await openTestRelay({
      targets: [`TCP4:127.0.0.1:${backend.port}`],
      health: { ...quick, timeoutMs: 20, http: '/' },
    })
    await becomes(test, 'down')
    expect(test.relay.targets[0]!.error).toMatchObject({ code: 'timed-out' })
  })

  test('a target goes down after `fall` bad answers in a row, and up after `rise` good ones', async () => {
    const script = [200, 500, 500, 200, 500, 500, 500, 200, 500, 200, 200]
    const seen: [number, string][] = []
    let test: TestRelay | undefined
    await using backend = await openHttpBackend((_, response) => {
      seen.push([script[seen.length] ?? 200, test ? health(test) : 'unknown'])
      response.writeHead(seen.at(-1)![0]).end()
    })
    await using opened = await openTestRelay({ targets: [backend.target], health: { ...quick, http: '/' } })
    test = opened
    await until('the script is through', () => seen.length > script.length)
    const [down, up] = ['down', 'up'] as const
    expect(seen.slice(0, script.length + 1).map(([, state]) => state)).toEqual([
      'unknown',
      up,
      up,
      up,
      up,
      up,
      up,
      down,
      down,
      down,
      down,
      up,
    ])
  })
})

describe('a target that is down', () => {
  test('gets no connection while another is up, and gets them again when it is back', async () => {
    let sick = true
    await using blue = await openHttpBackend((_, response) => {
      response.writeHead(sick ? 503 : 200).end('blue')
    })
    await using green = await openHttpBackend((_, response) => response.end('green'))
    await using test = await openTestRelay({
      targets: [blue.target, green.target],
      health: { ...quick, http: '/' },
    })
    const ask = async () =>
      (await fetch(`http://127.0.0.1:${test.port}/`, { headers: { connection: 'close' } })).text()
    await becomes(test, 'down')
    expect(await ask()).toBe('green')
    sick = false
    await becomes(test, 'up')
    expect(await ask()).toBe('blue')
  })

  test('is not counted in turns: those that are up share evenly', async () => {
    await using a = await openBackend('a')
    await using b = await openBackend('b')
    await using c = await openBackend('c')
    const targets = [a, b, c].map(({ target }) => target)
    await b.die()
    await using test = await openTestRelay({ targets, balance: 'round-robin', health: quick })
    await becomes(test, 'down', 1)
    const answers = (await askTimes(test.port, 8)).join('')
    expect(['acacacac', 'cacacaca']).toContain(answers)
    expect(test.relay.targets[1]).toMatchObject({ failures: 0 })
  })

  test('is tried all the same when all are down', async () => {
    await using sick = await openHttpBackend((_, response) => response.writeHead(500).end('sick, but there'))
    await using dead = await openBackend('dead')
    await dead.die()
    await using test = await openTestRelay({
      targets: [dead.target, sick.target],
      health: { ...quick, http: '/' },
    })
    await becomes(test, 'down', 0)
    await becomes(test, 'down', 1)
    const answer = await fetch(`http://127.0.0.1:${test.port}/`, { headers: { connection: 'close' } })
    expect(await answer.text()).toBe('sick, but there')
  })
})

describe('checks end', () => {
  /** Waits until a relay of its own has looked so often at a server of its own: a clock that is made of checks. */
  async function checksPass(times: number) {
    await using clock = await openBackend('clock')
    await using _test = await openTestRelay({ targets: [clock.target], health: quick })
    await until('the clock has ticked', () => clock.met >= times)
  }

  test('with a revocation, which waits for one in progress to be closed', async () => {
    await using backend = await openServer(socket => socket.resume())
    await using test = await openTestRelay({
      targets: [`TCP4:127.0.0.1:${backend.port}`],
      health: { ...quick, timeoutMs: 60_000, http: '/' },
    })
    await until('a check is in progress', () => backend.sockets.size > 0)
    await test.relay.abort(revoked)
    await until('it is gone', () => backend.sockets.size === 0)
    await checksPass(5)
    expect(backend.sockets.size).toBe(0)
    expect(health(test)).toBe('unknown')
  })

  test.each(['abort', 'close', 'done'] as const)('with %s: a relay that is over opens nothing', async how => {
    await using backend = await openBackend('a')
    const listen = how === 'done' ? 'TCP4-LISTEN:0,bind=127.0.0.1' : 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
    await using test = await openTestRelay({ listen, targets: [backend.target], health: quick })
    await becomes(test, 'up')
    if (how === 'abort') await test.relay.abort(revoked)
    else if (how === 'close') await test.relay.close()
    else {
      await askTimes(test.port, 1)
      await until('it is done', () => test.relay.state.name === 'done')
    }
    const { met } = backend
    await checksPass(10)
    // One that was under way by then may still have arrived.
    expect(backend.met - met).toBeLessThanOrEqual(1)
  })

  test('when they are switched off, and what they said is forgotten; they can be switched on again', async () => {
    await using backend = await openBackend('a')
    await using test = await openTestRelay({ targets: [backend.target], health: quick })
    await becomes(test, 'up')
    test.relay.setSharing({})
    expect(health(test)).toBe('unknown')
    await checksPass(5)
    expect(health(test)).toBe('unknown')
    test.relay.setSharing({ health: quick })
    await becomes(test, 'up')
  })

  test('and go on when only their pace is changed', async () => {
    await using backend = await openBackend('a')
    await using test = await openTestRelay({ targets: [backend.target], health: quick })
    await becomes(test, 'up')
    test.relay.setSharing({ health: { ...quick, intervalMs: 20, fall: 1 } })
    expect(health(test)).toBe('up')
    await backend.die()
    await becomes(test, 'down')
  })
})

test('a relay that does not listen checks nothing, and checks once it does', async () => {
  await using backend = await openBackend('a')
  await using holder = await openServer(() => {})
  await using test = startRelay({
    listen: `TCP4-LISTEN:${holder.port},bind=127.0.0.1,fork`,
    targets: [backend.target],
    health: quick,
  })
  await until('it is rejected', () => test.relay.state.name === 'rejected')
  expect([backend.met, health(test)]).toEqual([0, 'unknown'])
  await holder[Symbol.asyncDispose]()
  await becomes(test, 'up')
})
