import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openTestRelay, type TestRelay } from '#test/resources/relays.ts'
import { openServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'

const listen = 'UDP4-LISTEN:0,bind=127.0.0.1,fork'
const to = (port: number) => [`UDP4:127.0.0.1:${port}`]
const reason = new RelayError('revoked', { what: 'the conversation', why: 'the test says so' })
const live = ({ relay }: TestRelay) => [...relay.connections.values()]

test('each peer has a conversation of its own, with boundaries and answers kept, and is listed', async () => {
  await using server = await openDatagramSocket(text => [text.toUpperCase(), ''])
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  await using ann = await openDatagramSocket()
  await using bob = await openDatagramSocket()
  await ann.send('ann', relay.port)
  await bob.send('', relay.port)
  expect(await ann.reply(2)).toBe('')
  expect(await bob.reply(2)).toBe('')
  expect(ann.got.map(({ text }) => text)).toEqual(['ANN', ''])
  expect(ann.got.every(({ from }) => from.port === relay.port)).toBe(true)
  expect(new Set(server.got.map(({ from }) => from.port)).size).toBe(2)
  expect(
    live(relay).map(({ source, sourceIp, bytesIn, bytesOut }) => [source, sourceIp, bytesIn, bytesOut]),
  ).toEqual([
    [`127.0.0.1:${ann.port}`, '127.0.0.1', 3, 3],
    [`127.0.0.1:${bob.port}`, '127.0.0.1', 0, 0],
  ])
})

test('a conversation goes on through one socket to the target', async () => {
  await using server = await openDatagramSocket(text => `${text}!`)
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  await using client = await openDatagramSocket()
  for (const [turn, text] of ['one', 'two', 'three'].entries()) {
    await client.send(text, relay.port)
    expect(await client.reply(turn + 1)).toBe(`${text}!`)
  }
  expect(relay.opened.length).toBe(1)
  expect(new Set(server.got.map(({ from }) => from.port)).size).toBe(1)
})

test('silence ends a conversation, by the relay or by a minute if it says nothing', async () => {
  await using server = await openDatagramSocket()
  await using relay = await openTestRelay({ listen, targets: to(server.port), limits: { idleTimeoutMs: 40 } })
  await using client = await openDatagramSocket()
  await client.send('hello', relay.port)
  await until('it is over', () => relay.closed.length === 1)
  expect(relay.closed[0]).toMatchObject({ cause: 'idle' })
  await client.send('again', relay.port)
  await until('it begins anew', () => relay.opened.length === 2)
  relay.relay.setLimits({})
  await client.send('and now', relay.port)
  await server.reply(3)
  expect(relay.closed.length).toBeLessThan(2)
})

test('without `fork` the first peer is served and nobody else, and then it is done', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({
    listen: 'UDP4-LISTEN:0,bind=127.0.0.1',
    targets: to(server.port),
    limits: { idleTimeoutMs: 200 },
  })
  const { port } = relay
  await using first = await openDatagramSocket()
  await using second = await openDatagramSocket()
  await first.send('a', port)
  await second.send('b', port)
  await first.send('c', port)
  expect(await first.reply(2)).toBe('c')
  await until('it is done', () => relay.relay.state.name === 'done')
  expect(server.got.map(({ text }) => text)).toEqual(['a', 'c'])
})

test('a cut ends one conversation at once, and its peer is not heard until it has been quiet', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  await using bad = await openDatagramSocket()
  await using good = await openDatagramSocket()
  await bad.send('bad', relay.port)
  await good.send('good', relay.port)
  await bad.reply()
  await good.reply()
  const [first] = live(relay)
  expect(await relay.relay.cut(first!.id, reason)).toBe(true)
  await bad.send('more', relay.port)
  await good.send('more', relay.port)
  expect(await good.reply(2)).toBe('more')
  await until('the one that was cut is counted', () => relay.refused.length === 1)
  expect(relay.refused).toEqual([{ cause: 'cut-peer', source: `127.0.0.1:${bad.port}` }])
  expect(server.got.map(({ text }) => text)).toEqual(['bad', 'good', 'more'])
  expect(bad.got.length).toBe(1)
})

test('after a cut not one datagram passes, either way, however many are under way', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  for (let round = 0; round < 20; round++) {
    await using client = await openDatagramSocket()
    await client.send('hello', relay.port)
    await client.reply()
    const before = server.got.length
    for (let i = 0; i < 50; i++) void client.send('x', relay.port)
    const [connection] = live(relay)
    const cut = relay.relay.cut(connection!.id, reason)
    const [heard, answered] = [server.got.length, client.got.length]
    const carried = connection!.bytesIn
    await cut
    expect(heard).toBe(before)
    await client.send('the end', relay.port)
    await until('the end is refused', () =>
      relay.refused.some(({ source }) => source.endsWith(`:${client.port}`)),
    )
    expect(connection!.bytesIn).toBe(carried)
    expect(client.got.length).toBe(answered)
  }
})

test('an abort closes the port and every conversation', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  const { port } = relay
  await using client = await openDatagramSocket()
  await client.send('hello', port)
  await client.reply()
  expect(await relay.relay.abort(reason)).toEqual({ listenersClosed: 1, connectionsCut: 1 })
  await client.send('still there?', port)
  await using again = await openTestRelay({
    listen: `UDP4-LISTEN:${port},bind=127.0.0.1,fork`,
    targets: to(server.port),
  })
  await client.send('hello again', port)
  expect(await client.reply(2)).toBe('hello again')
  expect(again.opened.length).toBe(1)
  expect(server.got.map(({ text }) => text)).toEqual(['hello', 'hello again'])
})

test('a close turns new peers away and lets the others go on', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  const { port } = relay
  await using old = await openDatagramSocket()
  await using late = await openDatagramSocket()
  await old.send('one', port)
  await old.reply()
  const closed = relay.relay.close()
  await late.send('too late', port)
  await old.send('two', port)
  expect(await old.reply(2)).toBe('two')
  expect(relay.opened.length).toBe(1)
  await relay.relay.cut(relay.opened[0]!.id, reason)
  await closed
  expect(server.got.map(({ text }) => text)).toEqual(['one', 'two'])
})

test('a peer is sent three times what came from it, until it has answered', async () => {
  const big = Buffer.alloc(1_000, 'x')
  await using server = await openDatagramSocket(text => (text === 'small' ? ['123', big] : [big, big]))
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  await using client = await openDatagramSocket()
  await client.send('large', relay.port)
  await until('the replies are dropped', () => relay.refused.length === 2)
  expect(relay.refused[0]).toEqual({ cause: 'amplification', source: `127.0.0.1:${client.port}` })
  // Nothing has reached it, so what it says next is no answer.
  await client.send('again', relay.port)
  await until('these too', () => relay.refused.length === 4)
  await client.send('small', relay.port)
  expect(await client.reply(1)).toBe('123')
  await until('and the large one', () => relay.refused.length === 5)
  await client.send('large', relay.port)
  expect((await client.reply(2)).length).toBe(1_000)
  await client.reply(3)
  expect(relay.refused.length).toBe(5)
})

test('`amplification` lets an unknown peer be sent more', async () => {
  await using server = await openDatagramSocket(() => Buffer.alloc(1_000))
  await using relay = await openTestRelay({ listen: `${listen},amplification=200`, targets: to(server.port) })
  await using client = await openDatagramSocket()
  await client.send('hello', relay.port)
  expect((await client.reply()).length).toBe(1_000)
})

test('when there is no room for another, the conversation that was silent longest gives way', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({ listen: `${listen},max-flows=3`, targets: to(server.port) })
  await using stack = new AsyncDisposableStack()
  const clients = []
  for (const name of ['a', 'b', 'c']) {
    const client = stack.use(await openDatagramSocket())
    clients.push(client)
    await client.send(name, relay.port)
    await client.reply()
  }
  const [a, b, c] = clients
  await a!.send('a again', relay.port)
  await a!.reply(2)
  const newcomer = stack.use(await openDatagramSocket())
  await newcomer.send('d', relay.port)
  expect(await newcomer.reply()).toBe('d')
  await until('one has gone', () => relay.closed.length === 1)
  expect(relay.closed[0]).toMatchObject({
    connection: { source: `127.0.0.1:${b!.port}` },
    cause: 'failed',
    error: { code: 'exhausted' },
  })
  expect(relay.refused).toEqual([{ cause: 'displaced', source: `127.0.0.1:${b!.port}` }])
  expect(live(relay).map(({ source }) => source)).toEqual(
    [a!, c!, newcomer].map(({ port }) => `127.0.0.1:${port}`),
  )
})

test('who is turned away takes nobody’s place', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({
    listen: 'UDP4-LISTEN:0,bind=0.0.0.0,fork,max-flows=1,range=127.0.0.1/32',
    targets: to(server.port),
  })
  await using client = await openDatagramSocket()
  await using stranger = await openDatagramSocket(undefined, '127.0.0.9')
  await client.send('one', relay.port)
  await client.reply()
  await stranger.send('me too', relay.port, '127.0.0.1')
  await until('it is refused', () => relay.refused.length === 1)
  expect(relay.refused[0]).toMatchObject({ cause: 'range' })
  await client.send('two', relay.port)
  expect(await client.reply(2)).toBe('two')
  expect(relay.opened.length).toBe(1)
})

test('`max-children` lets further peers wait for their turn, and nothing is lost', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({ listen: `${listen},max-children=1`, targets: to(server.port) })
  await using first = await openDatagramSocket()
  await using second = await openDatagramSocket()
  await first.send('one', relay.port)
  await first.reply()
  await second.send('two', relay.port)
  await second.send('three', relay.port)
  await first.send('still me', relay.port)
  await first.reply(2)
  expect(server.got.length).toBe(2)
  await relay.relay.cut(live(relay)[0]!.id, reason)
  expect(await second.reply(2)).toBe('three')
})

test('a target that nobody listens on ends the conversation, and the next datagram tries again', async () => {
  const gone = await openDatagramSocket()
  const { port } = gone
  await gone[Symbol.asyncDispose]()
  await using relay = await openTestRelay({ listen, targets: to(port) })
  await using client = await openDatagramSocket()
  await client.send('anyone?', relay.port)
  await until('it fails', () => relay.closed.length === 1)
  expect(relay.closed[0]).toMatchObject({ cause: 'failed', error: { code: 'refused' } })
  await client.send('anyone now?', relay.port)
  await until('it was tried again', () => relay.closed.length === 2)
})

test('a narrower list cuts conversations whose source is no longer allowed, and a wider one lets them back', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({ listen, targets: to(server.port) })
  await using client = await openDatagramSocket()
  await client.send('one', relay.port)
  await client.reply()
  relay.relay.setLimits({ denyFrom: ['127.0.0.1'] })
  await until('it is cut', () => relay.closed.length === 1)
  await client.send('two', relay.port)
  await until('it is refused', () => relay.refused.length === 1)
  expect(relay.refused[0]).toMatchObject({ cause: 'denied-source' })
  relay.relay.setLimits({})
  await client.send('three', relay.port)
  expect(await client.reply(2)).toBe('three')
})

test('UDP-RECVFROM makes a conversation of each datagram, and answers go back to its sender', async () => {
  await using server = await openDatagramSocket(text => text)
  await using relay = await openTestRelay({
    listen: 'UDP4-RECVFROM:0,bind=127.0.0.1,fork',
    targets: to(server.port),
    limits: { idleTimeoutMs: 50 },
  })
  await using client = await openDatagramSocket()
  await client.send('one', relay.port)
  expect(await client.reply()).toBe('one')
  await client.send('two', relay.port)
  expect(await client.reply(2)).toBe('two')
  expect(relay.opened.length).toBe(2)
  expect(new Set(server.got.map(({ from }) => from.port)).size).toBe(2)
  await until('both are over', () => relay.closed.length === 2)
})

test('UDP-RECV carries what all senders say into one TCP connection, and the deny list holds for each of them', async () => {
  const heard: string[] = []
  await using server = await openServer(socket => {
    socket.on('data', chunk => heard.push(chunk.toString())).resume()
  })
  await using relay = await openTestRelay({
    listen: 'UDP4-RECV:0,bind=0.0.0.0,deny=127.0.0.8/32',
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  await using stack = new AsyncDisposableStack()
  const say = async (host: string, text: string) => {
    await stack.use(await openDatagramSocket(undefined, host)).send(text, relay.port, '127.0.0.1')
  }
  await say('127.0.0.1', 'a ')
  await say('127.0.0.2', 'b ')
  await say('127.0.0.8', 'no ')
  await until('one is refused', () => relay.refused.length === 1)
  await until('the others are heard', () => heard.join('') === 'a b ')
  expect(relay.opened).toMatchObject([{ source: '*', manySources: true }])
  relay.relay.setLimits({ allowFrom: ['127.0.0.2'] })
  await say('127.0.0.1', 'no ')
  await until('another is refused', () => relay.refused.length === 2)
  await say('127.0.0.2', 'c')
  await until('the last is heard', () => heard.join('') === 'a b c')
  expect(relay.refused.map(({ cause, source }) => [cause, source])).toEqual([
    ['denied-source', '127.0.0.8'],
    ['not-allowed-source', '127.0.0.1'],
  ])
  expect(live(relay).length).toBe(1)
})

test('a stream becomes datagrams of a size that socat would send', async () => {
  await using server = await openDatagramSocket()
  await using relay = await openTestRelay({ targets: to(server.port) })
  const socket = connect(relay.port, '127.0.0.1')
  socket.end(Buffer.alloc(20_000, 'y'))
  const total = () => server.got.reduce((sum, { text }) => sum + text.length, 0)
  await until('all has come', () => total() === 20_000)
  expect(Math.max(...server.got.map(({ text }) => text.length))).toBeLessThanOrEqual(8_192)
  socket.destroy()
})

test('a conversation that gives way while its target is being dialled does not go on dialling', async () => {
  let asked = 0
  const lookup = () => {
    asked++
    return new Promise<never>(() => {})
  }
  await using relay = await openTestRelay({
    listen: `${listen},max-flows=1`,
    targets: ['TCP4:slow.test:80'],
    lookup,
  })
  await using first = await openDatagramSocket()
  await using second = await openDatagramSocket()
  await first.send('one', relay.port)
  await until('it is being dialled', () => asked === 1)
  await second.send('two', relay.port)
  await until('the first has gone', () => relay.closed.length === 1)
  expect(relay.closed[0]).toMatchObject({ cause: 'failed', error: { code: 'exhausted' } })
  expect(live(relay).length).toBe(1)
})
