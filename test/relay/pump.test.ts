import { randomBytes } from 'node:crypto'
import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { newMeter, type PumpEnd, type PumpLimits, pump } from '#relay/pump.ts'
import { ended, failureOf, receive, writeUntilStalled } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

/** A pump between two conversations: what `client` says `server` hears. */
function joined(limits: PumpLimits = {}) {
  const [client, left] = memoryPair({ text: 'memory:relay' }, { text: 'memory:client' })
  const [right, server] = memoryPair({ text: 'memory:server' }, { text: 'memory:relay' })
  const controller = new AbortController()
  const meter = newMeter()
  const start = (): Promise<PumpEnd> => pump(left, right, limits, controller.signal, meter)
  return {
    client: client.stream,
    server: server.stream,
    left,
    right,
    meter,
    start,
    revoke: (reason: RelayError) => controller.abort(reason),
    async [Symbol.asyncDispose]() {
      for (const channel of [client, left, right, server]) await channel[Symbol.asyncDispose]()
    },
  }
}

const reason = new RelayError('revoked', { what: 'the connection', why: 'the test says so' })

test('both directions are carried to their ends and counted', async () => {
  await using pair = joined()
  const end = pair.start()
  pair.client.end('a question')
  expect((await receive(pair.server)).toString()).toBe('a question')
  pair.server.end('the answer!')
  expect((await receive(pair.client)).toString()).toBe('the answer!')
  expect(await end).toEqual({ end: 'eof', sent: 10, received: 11 })
})

test('the counters can be read while it runs', async () => {
  await using pair = joined()
  const before = pair.meter.lastActiveAt
  const end = pair.start()
  pair.server.resume()
  pair.client.write(Buffer.alloc(1_000))
  await until('a thousand bytes are counted', () => pair.meter.sent === 1_000)
  expect(pair.meter.lastActiveAt).toBeGreaterThan(before)
  expect(pair.meter.received).toBe(0)
  pair.revoke(reason)
  expect(await end).toMatchObject({ sent: 1_000 })
})

test('what ended before the pump began is passed on', async () => {
  await using pair = joined()
  pair.client.end()
  await receive(pair.left.stream)
  const end = pair.start()
  await ended(pair.server)
  pair.server.end()
  expect(await end).toMatchObject({ end: 'eof' })
})

test('silence ends it with an ordinary goodbye, traffic puts that off', async () => {
  await using pair = joined({ idleMs: 60 })
  const started = performance.now()
  const end = pair.start()
  pair.server.resume()
  const chatter = setInterval(() => pair.client.write('.'), 10)
  await until('the chatter outlasts the limit', () => performance.now() - started > 150)
  clearInterval(chatter)
  expect(pair.meter.sent).toBeGreaterThan(0)
  expect(await end).toMatchObject({ end: 'idle' })
  expect(performance.now() - started).toBeGreaterThan(200)
  await pair.left[Symbol.asyncDispose]()
  await ended(pair.client)
})

test('silence with undelivered bytes ends with a reset, for an end would hide their loss', async () => {
  await using pair = joined({ idleMs: 50 })
  const end = pair.start()
  await writeUntilStalled(pair.client, 1_000_000, Buffer.alloc(1_000))
  expect(await end).toMatchObject({ end: 'idle' })
  expect(await failureOf(pair.server)).toBe('ECONNRESET')
})

test('the greatest age ends a busy conversation with a reset on both sides', async () => {
  await using pair = joined({ lifetimeMs: 50 })
  const end = pair.start()
  pair.server.resume()
  pair.client.resume()
  const chatter = setInterval(() => pair.client.write('.'), 5)
  const atServer = failureOf(pair.server)
  const atClient = failureOf(pair.client)
  expect(await end).toMatchObject({ end: 'lifetime' })
  clearInterval(chatter)
  expect([await atServer, await atClient]).toEqual(['ECONNRESET', 'ECONNRESET'])
})

test('after half a goodbye the other direction lives as long as it makes progress', async () => {
  await using pair = joined({ halfCloseMs: 60 })
  const end = pair.start()
  pair.client.resume()
  pair.client.end()
  await ended(pair.server)
  const started = performance.now()
  const chatter = setInterval(() => pair.server.write('.'), 10)
  await until('the reply outlasts the deadline', () => performance.now() - started > 150)
  expect(pair.client.readableEnded).toBe(false)
  clearInterval(chatter)
  expect(await end).toMatchObject({ end: 'idle' })
})

test('a peer that ended but never takes the rest does not hold it for ever', async () => {
  await using pair = joined({ halfCloseMs: 50 })
  const end = pair.start()
  await writeUntilStalled(pair.client, 1_000_000, Buffer.alloc(1_000))
  pair.client.end()
  pair.server.end()
  pair.client.resume()
  expect(await end).toMatchObject({ end: 'idle' })
})

test('a limit beyond what a timer can count does not fire at once', async () => {
  await using pair = joined({ lifetimeMs: 2 ** 40, idleMs: 2 ** 41 })
  const end = pair.start()
  pair.client.end('still here')
  expect((await receive(pair.server)).toString()).toBe('still here')
  pair.server.end()
  expect(await end).toMatchObject({ end: 'eof' })
})

test('limits that change while it runs are looked at again', async () => {
  const limits: { idleMs?: number } = {}
  await using pair = joined(limits)
  const end = pair.start()
  limits.idleMs = 20
  pair.meter.recheck()
  expect(await end).toMatchObject({ end: 'idle' })
})

test('a revocation resets both sides and says why', async () => {
  await using pair = joined()
  const end = pair.start()
  const seen = [pair.client, pair.server].map(stream => failureOf(stream.resume()))
  pair.revoke(reason)
  expect(await end).toEqual({ end: 'revoked', sent: 0, received: 0, error: reason })
  expect(await Promise.all(seen)).toEqual(['ECONNRESET', 'ECONNRESET'])
})

test('what was revoked before it began carries nothing', async () => {
  await using pair = joined()
  pair.client.write('too late')
  pair.revoke(reason)
  expect(await pair.start()).toEqual({ end: 'revoked', sent: 0, received: 0, error: reason })
})

test('the failure of one side resets the other', async () => {
  await using pair = joined()
  const end = pair.start()
  const seen = failureOf(pair.server.resume())
  pair.left.stream.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
  expect(await end).toMatchObject({
    end: 'failed',
    error: { code: 'reset', what: expect.stringContaining('memory:client') },
  })
  expect(await seen).toBe('ECONNRESET')
})

test('a side that closes before its end has failed, even without an error', async () => {
  await using pair = joined()
  const end = pair.start()
  const seen = failureOf(pair.client.resume())
  pair.right.stream.destroy()
  expect(await end).toMatchObject({
    end: 'failed',
    error: { code: 'reset', why: 'it was closed before its end' },
  })
  expect(await seen).toBe('ECONNRESET')
})

test('a side that was closed before it began has failed', async () => {
  await using pair = joined()
  await pair.right[Symbol.asyncDispose]()
  expect(await pair.start()).toMatchObject({ end: 'failed' })
})

test('both sides may fail at once, and the first is reported', async () => {
  await using pair = joined()
  const end = pair.start()
  pair.left.stream.destroy(new Error('left broke'))
  pair.right.stream.destroy(new Error('right broke'))
  expect(await end).toMatchObject({ end: 'failed', error: { why: 'left broke' } })
})

test('a write to a side that was reset in the same turn is a failure and not a crash', async () => {
  await using pair = joined()
  const end = pair.start()
  pair.server.destroy()
  for (let i = 0; i < 10; i++) pair.client.write(randomBytes(70_000))
  expect(await end).toMatchObject({ end: 'failed', error: { code: 'reset' } })
})

test('datagrams stay apart, empty ones too', async () => {
  const heard: Buffer[] = []
  const datagrams = new Duplex({
    objectMode: true,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      heard.push(chunk)
      done()
    },
  })
  const source = new Duplex({ objectMode: true, read() {}, write: (_c, _e, done) => done() })
  const end = pump(channelOf(source), channelOf(datagrams), {}, new AbortController().signal)
  for (const text of ['one', '', 'three']) source.push(Buffer.from(text))
  source.push(null)
  datagrams.push(null)
  expect(await end).toMatchObject({ end: 'eof', sent: 8 })
  expect(heard.map(String)).toEqual(['one', '', 'three'])
})

test('a side that cannot be read: its silence is no end, and it takes what comes', async () => {
  const heard: Buffer[] = []
  const sink = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      heard.push(chunk)
      done()
    },
  })
  const [client, left] = memoryPair({ text: 'memory:relay' }, { text: 'memory:client' })
  const end = pump(left, channelOf(sink, 'sink'), { halfCloseMs: 1 }, new AbortController().signal)
  client.stream.write('one ')
  const started = performance.now()
  await until('a half-close would have been over', () => performance.now() - started > 20)
  expect(client.stream.readableEnded).toBe(false)
  client.stream.end('two')
  expect(await end).toMatchObject({ end: 'eof', sent: 7, received: 0 })
  expect(Buffer.concat(heard).toString()).toBe('one two')
  for (const channel of [client, left]) await channel[Symbol.asyncDispose]()
})

test('a side that cannot be written swallows what comes, and its end is passed on', async () => {
  const source = new Duplex({
    read() {},
    write: (_chunk, _encoding, done) => done(new Error('it was written to')),
  })
  const [client, left] = memoryPair({ text: 'memory:relay' }, { text: 'memory:client' })
  const end = pump(left, channelOf(source, 'source'), {}, new AbortController().signal)
  client.stream.end('nobody hears this')
  source.push('news')
  source.push(null)
  expect((await receive(client.stream)).toString()).toBe('news')
  expect(await end).toMatchObject({ end: 'eof', sent: 0, received: 4 })
  for (const channel of [client, left]) await channel[Symbol.asyncDispose]()
})

function channelOf(stream: Duplex, oneWay?: 'source' | 'sink'): Channel {
  return {
    stream,
    framing: stream.readableObjectMode ? 'datagram' : 'stream',
    peer: { text: 'a stream' },
    ...(oneWay && { oneWay }),
    abort: () => void stream.destroy(),
    [Symbol.asyncDispose]: async () => void stream.destroy(),
  }
}
