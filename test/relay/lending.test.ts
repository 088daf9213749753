import { createHash, randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { pump } from '#relay/pump.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import { openClient, openServer } from '#test/resources/servers.ts'
import { digest, send, writeUntilStalled } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const mebibyte = 1_048_576
const source = randomBytes(4 * mebibyte)

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

async function tcpPair(): Promise<[dialled: Channel, accepted: Channel]> {
  await using listener = await bindAddress('TCP4-LISTEN:0,bind=127.0.0.1').acceptor!.listen(openContext())
  const dialled = await bindAddress(`TCP4:${listener.local}`).dialer!.dial(openContext())
  const { value } = await listener[Symbol.asyncIterator]().next()
  return [dialled, value as Channel]
}

test('sockets that were dialled lend, and so do those that this Node accepts', async () => {
  const pair = await tcpPair()
  for (const channel of pair) {
    expect(channel.lender).toBeDefined()
    await channel[Symbol.asyncDispose]()
  }
})

test('so do serial ports; what their clients leave waiting is all there when they read', async () => {
  // Two, for all of them are read into one buffer.
  const talk = async (words: Buffer<ArrayBuffer>) => {
    await using port = await openFakePort()
    await using line = await bindAddress(`SERIAL:${port.path}`).dialer!.dial(openContext())
    const [left, right] = await tcpPair()
    await using client = left
    await using served = right
    expect(line.lender).toBeDefined()
    const leaving = new AbortController()
    const end = pump(served, line, {}, leaving.signal)
    const taken = await writeUntilStalled(port.far, 64 * mebibyte, words)
    expect(taken).toBeLessThan(64 * mebibyte)
    const expected = createHash('sha256')
    for (let at = 0; at < taken; at += words.length) expected.update(words)
    const received = createHash('sha256')
    let came = 0
    const onData = (bytes: Buffer) => {
      came += bytes.length
      received.update(bytes)
    }
    client.stream.on('data', onData).resume()
    await until('all has come', () => came >= taken)
    expect(received.digest('hex')).toBe(expected.digest('hex'))
    leaving.abort(new RelayError('closed', { what: 'the test', why: 'it is over' }))
    expect((await end).received).toBe(taken)
  }
  await Promise.all([talk(source.subarray(0, 65_537)), talk(source.subarray(100_003, 115_016))])
})

test('forty conversations at once, of all sizes and speeds, do not mix', async () => {
  // Each sends a piece of its own and gets it back; every third reads late, so that what it was lent is kept for long.
  await using server = await openServer(socket => void socket.pipe(socket))
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  const sizes = [1, 100, 65_535, 65_536, 65_537, 300_000, mebibyte, 3 * mebibyte]
  await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const piece = source.subarray(index * 1_009, index * 1_009 + sizes[index % sizes.length]!)
      await using client = await openClient(relay.port)
      client.pause()
      const sending = send(client, inPiecesOf(70_001, piece)).then(() => client.end())
      if (index % 3 === 0) for (let turns = 0; turns < 50; turns++) await turn()
      const received = await digest(client)
      await sending
      expect(received).toEqual({ bytes: piece.length, sha256: sha256(piece) })
    }),
  )
  expect(relay.closed.map(({ cause }) => cause)).not.toContain('failed')
})

for (const [pace, size, fill] of [
  [
    'floods',
    65_536,
    (stream: Duplex, words: Buffer<ArrayBuffer>) => writeUntilStalled(stream, 64 * mebibyte, words),
  ],
  ['trickles', 15_013, trickleUntilStalled],
] as const) {
  test(`what comes in ${pace} is lent to readers that stall, stays theirs, and is all there in the end`, async () => {
    await using held = new AsyncDisposableStack()
    const conversations = await Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        const [client, left] = await tcpPair()
        const [right, server] = await tcpPair()
        for (const channel of [client, left, right, server]) held.use(channel)
        const words = source.subarray(index * 100_003, index * 100_003 + size)
        const end = pump(left, right, {}, new AbortController().signal)
        return { client, server, words, end }
      }),
    )
    const taken = await Promise.all(conversations.map(({ client, words }) => fill(client.stream, words)))
    for (const [index, { client, server, words, end }] of conversations.entries()) {
      const bytes = taken[index]!
      expect(bytes).toBeLessThan(64 * mebibyte)
      client.stream.end()
      const expected = createHash('sha256')
      for (let at = 0; at < bytes; at += size) expected.update(words)
      expect(await digest(server.stream)).toEqual({ bytes, sha256: expected.digest('hex') })
      server.stream.end()
      client.stream.resume()
      expect(await end).toEqual({ end: 'eof', sent: bytes, received: 0 })
    }
  })
}

test('a kind that does not lend is given bytes to keep', async () => {
  await using held = new AsyncDisposableStack()
  const [client, left] = await tcpPair()
  const [right, far] = memoryPair({ text: 'memory:far' }, { text: 'memory:near' })
  for (const channel of [client, left, right, far]) held.use(channel)
  const chunks: Buffer[] = []
  far.stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  const end = pump(left, right, {}, new AbortController().signal)
  await send(client.stream, inPiecesOf(70_001, source))
  client.stream.end()
  await until('all has come', () => far.stream.readableEnded)
  expect(Buffer.concat(chunks).equals(source)).toBe(true)
  far.stream.end()
  client.stream.resume()
  expect(await end).toMatchObject({ end: 'eof', sent: source.length })
})

test('connections that are reset in mid-flow take nothing from those that follow', async () => {
  await using server = await openServer(socket => {
    socket.on('error', () => socket.destroy())
    const pour = () => {
      while (!socket.destroyed && socket.write(source.subarray(0, mebibyte)));
    }
    socket.on('drain', pour)
    pour()
  })
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
  // More of them than there are large buffers.
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        await using client = await openClient(relay.port)
        let received = 0
        client.on('data', (bytes: Buffer) => {
          received += bytes.length
        })
        await until('a megabyte has come', () => received > mebibyte)
        client.resetAndDestroy()
      }),
    )
  }
  await until('all are over', () => relay.closed.length === 80)
  await using client = await openClient(relay.port)
  const hash = createHash('sha256')
  let received = 0
  client.on('data', (bytes: Buffer) => {
    hash.update(bytes.subarray(0, Math.max(0, 8 * mebibyte - received)))
    received += bytes.length
  })
  await until('eight megabytes have come', () => received >= 8 * mebibyte)
  const expected = createHash('sha256')
  for (let times = 0; times < 8; times++) expected.update(source.subarray(0, mebibyte))
  expect(hash.digest('hex')).toBe(expected.digest('hex'))
})

function* inPiecesOf(size: number, bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** A piece a turn, so that the relay's reads stay small. */
async function trickleUntilStalled(stream: Duplex, words: Buffer): Promise<number> {
  let taken = 0
  for (let movedAt = performance.now(); performance.now() - movedAt < 100; await turn()) {
    if (stream.writableLength > 0) continue
    stream.write(words)
    taken += words.length
    movedAt = performance.now()
  }
  return taken
}
