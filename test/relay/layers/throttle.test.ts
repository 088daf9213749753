import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'
import { throttle } from '#relay/layers/throttle.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient, openServer } from '#test/resources/servers.ts'
import { failureOf, receive, writeUntilStalled } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const mebibyte = 1_048_576

test('all arrives as it was, both ways, and takes as long as it must', async () => {
  const [there, back] = [randomBytes(60_000), randomBytes(90_000)]
  const heard = Promise.withResolvers<Buffer>()
  await using server = await openServer(socket => {
    receive(socket).then(heard.resolve, heard.reject)
    socket.end(back)
  })
  const flow = { throttleBytesPerSecond: 300_000 }
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  const begunAt = performance.now()
  await using client = await openClient(relay.port)
  client.end(there)
  expect((await receive(client)).equals(back)).toBe(true)
  expect((await heard.promise).equals(there)).toBe(true)
  // 90,000 bytes at this rate take 300 ms, of which a tenth of a second's worth may come at once.
  expect(performance.now() - begunAt).toBeGreaterThanOrEqual(150)
})

test('never more is granted than the rate and one burst allow', async () => {
  const rate = 100_000
  for (const whole of [false, true]) {
    const pace = throttle(rate, whole, () => true)
    const begunAt = performance.now()
    let granted = 0
    while (granted < 30_000) {
      const turn = pace(1_000)
      if ('waitMs' in turn) await new Promise(resolve => setTimeout(resolve, turn.waitMs))
      else granted += turn.bytes
      const seconds = (performance.now() - begunAt) / 1_000
      expect(granted).toBeLessThanOrEqual(rate * (seconds + 0.1) + 2_000)
    }
  }
})

test('who sends is held up, and little waits in between', async () => {
  await using server = await openServer(socket => void socket.resume())
  const flow = { throttleBytesPerSecond: 1_000 }
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  await using client = await openClient(relay.port)
  const taken = await writeUntilStalled(client, 64 * mebibyte)
  expect(taken).toBeLessThan(64 * mebibyte)
  expect(relay.opened[0]?.bytesIn).toBeLessThan(4 * mebibyte)
})

test('a cut waits for nothing', async () => {
  await using server = await openServer(socket => void socket.resume())
  const flow = { throttleBytesPerSecond: 1 }
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow })
  await using client = await openClient(relay.port)
  client.write(Buffer.alloc(100_000))
  await until('it is being carried', () => (relay.opened[0]?.bytesIn ?? 0) > 0)
  const cut = relay.relay.cut('connection-1', new RelayError('revoked', { what: 'the connection' }))
  expect(await failureOf(client.resume())).toBe('ECONNRESET')
  expect(await cut).toBe(true)
})

test('what is held back does not pass either once nothing may pass any more', async () => {
  let received = 0
  let over: RelayError | undefined
  await using server = await openServer(socket => {
    socket.on('data', bytes => {
      received += bytes.length
    })
    socket.resume()
  })
  const flow = { throttleBytesPerSecond: 100_000 }
  const targets = [`TCP4:127.0.0.1:${server.port}`]
  await using relay = await openTestRelay({ targets, flow, barrier: () => over })
  await using client = await openClient(relay.port)
  client.resume().write(Buffer.alloc(500_000))
  await until('some has passed', () => received > 0)
  over = new RelayError('lapsed', { what: 'the relay' })
  const passed = relay.opened[0]!.bytesIn
  await until('it is cut', () => relay.closed[0]?.cause === 'lapsed')
  expect(relay.closed[0]?.error?.code).toBe('lapsed')
  expect(relay.opened[0]!.bytesIn).toBe(passed)
  expect(received).toBeLessThan(100_000)
})

test('bytes that are held back keep no connection from being active', async () => {
  await using server = await openServer(socket => void socket.end(Buffer.alloc(40_000)))
  const flow = { throttleBytesPerSecond: 50_000 }
  const limits = { idleTimeoutMs: 200 }
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`], flow, limits })
  await using client = await openClient(relay.port)
  client.end()
  expect((await receive(client)).length).toBe(40_000)
  await until('it is over', () => relay.closed[0]?.cause === 'eof')
})

test('datagrams stay whole, however slowly they go', async () => {
  await using server = await openDatagramSocket()
  const listen = 'UDP4-LISTEN:0,bind=127.0.0.1,fork'
  const flow = { throttleBytesPerSecond: 20_000 }
  await using relay = await openTestRelay({ listen, targets: [`UDP4:127.0.0.1:${server.port}`], flow })
  await using client = await openDatagramSocket()
  const words = ['a', 'b', 'c'].map(letter => letter.repeat(1_500))
  for (const each of words) await client.send(each, relay.port)
  await server.reply(3)
  expect(server.got.map(({ text }) => text)).toEqual(words)
})
