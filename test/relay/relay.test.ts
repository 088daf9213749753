import { once } from 'node:events'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Channel, Endpoint, OpenContext } from '#relay/endpoint.ts'
import { openArrivals } from '#relay/endpoints/arrivals.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { openTestRelay, startRelay } from '#test/resources/relays.ts'
import { exchange, openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { ended, failureOf, receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const revoked = new RelayError('revoked', { what: 'the relay', why: 'the test says so' })

test('a conversation is listed while it lives, with who, where and how much', async () => {
  await using server = await openEchoServer()
  const target = `TCP4:127.0.0.1:${server.port}`
  await using test = await openTestRelay({ targets: [target] })
  await using client = await openClient(test.port)
  const source = `127.0.0.1:${client.localPort}`
  client.write('hello')
  await once(client, 'data')
  const [listed] = test.relay.connections.values()
  expect(listed).toMatchObject({
    id: 'connection-1',
    relayId: 'relay-1',
    source,
    sourceIp: '127.0.0.1',
    target,
  })
  expect(listed).toMatchObject({ bytesIn: 5, bytesOut: 5 })
  const lastActiveAt = () => performance.now() - listed!.idleMs
  const first = lastActiveAt()
  await until('it has been idle', () => listed!.idleMs > 5)
  client.write('hello')
  await until('it has moved again', () => lastActiveAt() > first + 4 && listed!.bytesOut === 10)
  client.end()
  await ended(client)
  await until('it is over', () => test.closed.length === 1)
  expect(test.opened).toHaveLength(1)
  expect(test.closed[0]).toMatchObject({
    connection: { id: 'connection-1', bytesIn: 10, bytesOut: 10 },
    cause: 'eof',
  })
  expect(test.relay.connections.size).toBe(0)
})

test('a reply after the client has said all still arrives', async () => {
  await using server = await openServer(async socket => socket.end(`heard ${(await receive(socket)).length}`))
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  await using client = await openClient(test.port)
  client.end(Buffer.alloc(300_000))
  expect((await receive(client)).toString()).toBe('heard 300000')
})

test('without `fork` one connection is served and the relay is done', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({
    listen: 'TCP4-LISTEN:0,bind=127.0.0.1',
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  const { port } = test
  await using client = await openClient(port)
  client.end('once')
  expect((await receive(client)).toString()).toBe('once')
  await until('it is done', () => test.relay.state.name === 'done')
  await expect(openClient(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  expect(test.states).toEqual(['pending', 'ready', 'done'].slice(1))
})

test('a first address that connects makes one conversation', async () => {
  await using server = await openEchoServer()
  await using listener = await openServer(socket => socket.end('first words').resume())
  await using test = startRelay({
    listen: `TCP4:127.0.0.1:${listener.port}`,
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  await until('it is done', () => test.relay.state.name === 'done')
  expect(test.closed[0]).toMatchObject({ cause: 'eof', connection: { bytesIn: 11, bytesOut: 11 } })
})

test('a port in use is a rejection that is tried again, until the port is free', async () => {
  await using server = await openEchoServer()
  const holder = await openServer(() => {})
  await using test = startRelay({
    listen: `TCP4-LISTEN:${holder.port},bind=127.0.0.1,fork`,
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  await until('it is rejected', () => test.relay.state.name === 'rejected')
  expect(test.relay.state).toMatchObject({ error: { code: 'address-in-use' }, retryAt: expect.any(Date) })
  await holder[Symbol.asyncDispose]()
  await until('it is ready', () => test.relay.state.name === 'ready')
  expect(test.relay.trace.at(-1)).toMatchObject({ state: 'ready', at: expect.any(Date) })
})

test('a relay that waits for another try can be aborted', async () => {
  await using holder = await openServer(() => {})
  await using test = startRelay({
    listen: `TCP4-LISTEN:${holder.port},bind=127.0.0.1,fork`,
    targets: ['TCP4:127.0.0.1:1'],
  })
  await until('it is rejected', () => test.relay.state.name === 'rejected')
  expect(await test.relay.abort(revoked)).toEqual({ listenersClosed: 0, connectionsCut: 0 })
  expect(test.relay.state).toEqual({ name: 'closed', reason: revoked })
})

test('a relay that is aborted before it began never listens', async () => {
  const test = startRelay({ targets: ['TCP4:127.0.0.1:1'] })
  await test.relay.abort(revoked)
  expect(test.states).toEqual(['closed'])
})

test('limits that make no sense are a rejection for good', async () => {
  await using test = startRelay({ targets: ['TCP4:127.0.0.1:1'], limits: { allowFrom: ['nonsense'] } })
  await until('it is rejected', () => test.relay.state.name === 'rejected')
  expect(test.relay.state).toMatchObject({ error: { code: 'usage' } })
  expect(test.relay.state).not.toHaveProperty('retryAt')
})

test('the trace keeps the last sixteen transitions', async () => {
  const broken: Endpoint = {
    ...bindAddress('MEMORY-LISTEN:broken'),
    acceptor: {
      listen: async () => ({
        local: 'nowhere',
        [Symbol.asyncIterator]: () => ({ next: async () => Promise.reject(new Error('it broke')) }),
        async [Symbol.asyncDispose]() {},
      }),
    },
  }
  await using test = startRelay({ listen: broken, targets: ['MEMORY:nobody'] })
  await until('it has been tried again', () => test.states.length >= 3)
  expect(test.states.slice(0, 3)).toEqual(['ready', 'rejected', 'ready'])
  expect(test.relay.trace.length).toBeLessThanOrEqual(16)
})

test('targets are tried in order, for each connection', async () => {
  await using server = await openEchoServer()
  const gone = await openServer(() => {})
  await gone[Symbol.asyncDispose]()
  const targets = [`TCP4:127.0.0.1:${gone.port}`, `TCP4:127.0.0.1:${server.port}`]
  await using test = await openTestRelay({ targets })
  await using client = await openClient(test.port)
  client.write('hello')
  await once(client, 'data')
  expect([...test.relay.connections.values()][0]!.target).toBe(targets[1])
  expect(test.failed).toEqual([])
})

test('a client is reset when no target opens, and the failure names them all', async () => {
  await using test = await openTestRelay({ targets: ['TCP4:127.0.0.1:1', 'TCP4:127.0.0.1:2'] })
  await using client = await openClient(test.port)
  expect(await failureOf(client.resume())).toBe('ECONNRESET')
  await until('it is over', () => test.closed.length === 1)
  expect(test.failed).toHaveLength(1)
  expect(test.failed[0]).toMatchObject({
    code: 'refused',
    why: expect.stringMatching(/127.0.0.1:1.*127.0.0.1:2/),
  })
  expect(test.closed[0]).toMatchObject({ cause: 'failed', error: test.failed[0] })
})

test('nothing of a client is read before its target is open', async () => {
  const { endpoint, open } = slowTarget()
  await using test = await openTestRelay({ targets: [endpoint] })
  await using client = await openClient(test.port)
  client.write('patience')
  await until('it is listed', () => test.relay.connections.size === 1)
  const [listed] = test.relay.connections.values()
  expect(listed).toMatchObject({ target: 'MEMORY:slow', bytesIn: 0 })
  await using far = await open()
  const [words] = await once(far.stream, 'data')
  expect(String(words)).toBe('patience')
})

test('a connection that is being dialled can be cut', async () => {
  const { endpoint } = slowTarget()
  await using test = await openTestRelay({ targets: [endpoint] })
  await using client = await openClient(test.port)
  await until('it is listed', () => test.relay.connections.size === 1)
  const seen = failureOf(client.resume())
  expect(await test.relay.cut('connection-1', revoked)).toBe(true)
  expect(test.relay.connections.size).toBe(0)
  expect(await seen).toBe('ECONNRESET')
  expect(test.closed[0]).toMatchObject({ cause: 'revoked', error: revoked })
  expect(test.failed).toEqual([])
})

test('a cut resets both sides of that connection and no other', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  await using spared = await openClient(test.port)
  spared.write('hello')
  await once(spared, 'data')
  const [sparedServer] = server.sockets
  await using cut = await openClient(test.port)
  cut.write('hello')
  await once(cut, 'data')
  const [serverSide] = [...server.sockets].filter(socket => socket !== sparedServer)
  const seen = [failureOf(cut), failureOf(serverSide!)]
  expect(await test.relay.cut('connection-2', revoked)).toBe(true)
  expect(await test.relay.cut('connection-2', revoked)).toBe(false)
  expect(await Promise.all(seen)).toEqual(['ECONNRESET', 'ECONNRESET'])
  spared.write('still here')
  expect(String((await once(spared, 'data'))[0])).toBe('still here')
})

test('an abort resets all, closes the port, and says how much', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  const { port } = test
  await using first = await openClient(port)
  await using second = await openClient(port)
  await until('both are served', () => server.sockets.size === 2)
  const seen = [first, second].map(client => failureOf(client.resume()))
  const receipt = await test.relay.abort(revoked)
  expect(receipt).toEqual({ listenersClosed: 1, connectionsCut: 2 })
  expect(await Promise.all(seen)).toEqual(['ECONNRESET', 'ECONNRESET'])
  await expect(openClient(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  expect(test.relay.state).toEqual({ name: 'closed', reason: revoked })
  expect(test.closed.map(({ cause }) => cause)).toEqual(['revoked', 'revoked'])
  expect(await test.relay.abort(revoked)).toEqual(receipt)
})

test('a close turns newcomers away and lets the others finish', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  const { port } = test
  await using client = await openClient(port)
  client.write('before')
  await once(client, 'data')
  const closing = test.relay.close()
  await expect(openClient(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  client.end('after')
  expect((await receive(client)).toString()).toBe('after')
  await closing
  expect(test.relay.state.name).toBe('closed')
  expect(test.closed[0]).toMatchObject({ cause: 'eof' })
})

test('an abort overtakes a close, and disposal stops what is left', async () => {
  await using server = await openEchoServer()
  const test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  await using client = await openClient(test.port)
  client.write('hello')
  await once(client, 'data')
  const closing = test.relay.close()
  await test.relay[Symbol.asyncDispose]()
  await closing
  expect(test.closed[0]).toMatchObject({ cause: 'stopped' })
  expect(test.states.filter(state => state === 'closed')).toHaveLength(1)
})

test('the cap holds, half-closed connections count, and a place that is left is free again', async () => {
  await using server = await openEchoServer()
  const limits = { maxConnections: 2 }
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], limits })
  await using first = await openClient(test.port)
  await using second = await openClient(test.port)
  await until('both are served', () => server.sockets.size === 2)
  for (const socket of server.sockets) socket.unpipe()
  first.end()
  await turnedAway(test.port)
  expect(test.refused).toMatchObject([
    { cause: 'max-connections', source: expect.stringMatching(/^127.0.0.1:\d+$/) },
  ])
  second.resetAndDestroy()
  await until('one is gone', () => test.relay.connections.size === 1)
  await using third = await openClient(test.port)
  await until('the third is served', () => test.relay.connections.size === 2)
  expect(third.destroyed).toBe(false)
})

test('the rate holds, and refusals are counted', async () => {
  await using server = await openEchoServer()
  const limits = { ratePerSecond: 0.001 }
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], limits })
  await using _first = await openClient(test.port)
  await until('it is served', () => server.sockets.size === 1)
  await turnedAway(test.port)
  await turnedAway(test.port)
  expect(test.refused.map(({ cause }) => cause)).toEqual(['rate', 'rate'])
})

test('`range` serves its clients only, and a refused one is not the one of a listener without `fork`', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({
    listen: 'TCP4-LISTEN:0,bind=0.0.0.0,range=127.0.0.2/32',
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  await turnedAway(test.port)
  expect(test.refused[0]).toMatchObject({ cause: 'range' })
  await using client = await openClient(test.port, { from: '127.0.0.2' })
  client.end('welcome')
  expect((await receive(client)).toString()).toBe('welcome')
})

test('`max-children` makes further clients wait for their turn', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({
    listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork,max-children=1',
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  await using first = await openClient(test.port)
  first.write('first')
  await once(first, 'data')
  await using second = await openClient(test.port)
  second.end('second')
  first.write('again')
  await once(first, 'data')
  expect(test.relay.connections.size).toBe(1)
  first.end()
  await ended(first)
  expect((await receive(second)).toString()).toBe('second')
  expect(test.refused).toEqual([])
})

test('a narrower list cuts those who are no longer allowed, at once', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  await using stays = await openClient(test.port)
  await using leaves = await openClient(test.port, { from: '127.0.0.2' })
  await until('both are served', () => server.sockets.size === 2)
  const seen = failureOf(leaves.resume())
  test.relay.setLimits({ denyFrom: ['127.0.0.2'] })
  expect(await seen).toBe('ECONNRESET')
  stays.write('still here')
  expect(String((await once(stays, 'data'))[0])).toBe('still here')
  expect(() => test.relay.setLimits({ denyFrom: ['nonsense'] })).toThrowError(
    /neither an IP address nor a CIDR/,
  )
  await until('it is over', () => test.closed.length === 1)
  expect(test.closed[0]).toMatchObject({ cause: 'denied' })
})

test('a new idle timeout holds for live connections', async () => {
  await using server = await openEchoServer()
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  await using client = await openClient(test.port)
  await until('it is served', () => server.sockets.size === 1)
  test.relay.setLimits({ idleTimeoutMs: 30 })
  await ended(client)
  await until('it is over', () => test.closed.length === 1)
  expect(test.closed[0]).toMatchObject({ cause: 'idle' })
})

test('the greatest age ends a connection that is busy', async () => {
  await using server = await openEchoServer()
  const limits = { maxConnectionAgeMs: 60 }
  await using test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], limits })
  await using client = await openClient(test.port)
  client.on('data', chunk => client.write(chunk))
  client.write('round and round')
  expect(await failureOf(client)).toMatch(/ECONNRESET|EPIPE/)
  await until('it is over', () => test.closed.length === 1)
  expect(test.closed[0]).toMatchObject({ cause: 'lifetime' })
})

test('a name that turns to a forbidden address is refused for that connection', async () => {
  await using server = await openEchoServer()
  const answers = ['127.0.0.1', '169.254.169.254', '::ffff:169.254.169.254', '127.0.0.1']
  const lookup = async () => [{ address: answers.shift()!, family: 4 }]
  await using test = await openTestRelay({ targets: [`TCP:flip.test:${server.port}`], lookup })
  for (const reached of [true, false, false, true]) {
    expect(await exchange(test.port, 'hello')).toBe(reached ? 'hello' : 'reset')
  }
  expect(test.failed.map(({ code }) => code)).toEqual(['denied', 'denied'])
})

test('no connection slips between accept and abort, in ten thousand interleavings', {
  timeout: 120_000,
}, async () => {
  const moment = fc.integer({ min: 0, max: latest })
  const interleaving = fc.record({
    arrivals: fc.array(moment, { minLength: 1, maxLength: 4 }),
    abort: moment,
  })
  await fc.assert(
    fc.asyncProperty(interleaving, async ({ arrivals, abort }) => {
      const held: Channel[] = []
      const { endpoint: listen, arrive } = manualListener(held)
      const test = startRelay({ listen, targets: [immediateTarget(held)] })
      while (test.relay.state.name !== 'ready') await null
      const coming = arrivals.map(async when => {
        await at(when)
        arrive()
      })
      await at(abort)
      await test.relay.abort(revoked)
      expect(held.filter(({ stream }) => !stream.destroyed)).toEqual([])
      await Promise.all(coming)
      expect(held.filter(({ stream }) => !stream.destroyed)).toEqual([])
      expect(test.relay.connections.size).toBe(0)
      expect(test.closed.length).toBe(test.opened.length)
      expect(test.relay.state.name).toBe('closed')
    }),
    { numRuns: 10_000, timeout: 5_000, endOnFailure: true },
  )
})

test('no TCP connection outlives an abort, whenever it comes', async () => {
  await using server = await openEchoServer()
  for (let round = 0; round < 200; round++) {
    const test = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
    // From another address than the relay's: a client that dials its own free port would be joined to itself.
    const { port } = test
    const dial = () => openClient(port, { from: '127.0.0.2' }).catch(() => undefined)
    const clients = Array.from({ length: 3 }, dial)
    await at(round % (latest + 1))
    await test.relay.abort(revoked)
    expect(test.closed.length).toBe(test.opened.length)
    for (const client of await Promise.all(clients)) {
      if (!client) continue
      client.resume()
      await until('the client has lost it', () => client.closed)
    }
  }
  await until('the server has lost them all', () => server.sockets.size === 0)
})

const latest = 14

/** A little later, by so many steps of the loop that two things interleave in every order: microtasks, ticks, turns. */
async function at(moment: number): Promise<void> {
  if (moment === latest) return new Promise(resolve => process.nextTick(resolve))
  if (moment > latest - 3)
    for (let i = latest - 3; i < moment; i++) await new Promise(resolve => setImmediate(resolve))
  else for (let i = 0; i < moment; i++) await null
}

/** A listener whose arrivals the test makes by hand. `held` gets all channels that the relay was given. */
function manualListener(held: Channel[]): { endpoint: Endpoint; arrive(): void } {
  let offer: ((channel: Channel) => void) | undefined
  const listen = async (cx: OpenContext) => {
    const arrivals = openArrivals(cx, { local: 'manual', fork: true, queue: 100, close() {} })
    offer = arrivals.offer
    return arrivals
  }
  const { address, scope } = bindAddress('MEMORY-LISTEN:manual')
  return {
    endpoint: { address, scope, acceptor: { listen } },
    arrive() {
      if (!offer) return
      const [, far] = memoryPair({ text: 'memory:relay' }, { text: 'memory:client' })
      held.push(far)
      offer(far)
    },
  }
}

function immediateTarget(held: Channel[]): Endpoint {
  const { address, scope } = bindAddress('MEMORY:target')
  const dial = async () => {
    const [near] = memoryPair({ text: 'memory:target' }, { text: 'memory:relay' })
    held.push(near)
    return near
  }
  return { address, scope, dialer: { dial } }
}

/** A target that opens when the test says so, and gives up when it is called off. */
function slowTarget(): { endpoint: Endpoint; open(): Promise<Channel> } {
  const { address, scope } = bindAddress('MEMORY:slow')
  const dialled = Promise.withResolvers<(channel: Channel) => void>()
  const dial = ({ signal }: OpenContext) =>
    new Promise<Channel>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      dialled.resolve(resolve)
    })
  return {
    endpoint: { address, scope, dialer: { dial } },
    async open() {
      const [near, far] = memoryPair({ text: 'memory:slow' }, { text: 'memory:relay' })
      const resolve = await dialled.promise
      resolve(near)
      return far
    },
  }
}

async function turnedAway(port: number): Promise<void> {
  expect(await exchange(port, '')).toBe('reset')
}
