import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openFolder } from '#test/resources/folder.ts'
import { openTestRelay, startRelay } from '#test/resources/relays.ts'
import { exchange, openClient, openServer, type TestServer } from '#test/resources/servers.ts'
import { digest, receive, send } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const mebibyte = 1_048_576

/** Keeps what each of its clients has said once it has ended. */
async function openHearer() {
  const heard: string[] = []
  const server = await openServer(socket => {
    socket.write('nobody hears this')
    receive(socket).then(
      all => heard.push(String(all)),
      () => {},
    )
  })
  return {
    heard,
    address: `TCP4:127.0.0.1:${server.port}`,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

const tee = (...addresses: string[]) => ({ tee: addresses.map(bindAddress) })

test('each tee gets a copy of what goes forward, and of nothing else', async () => {
  await using one = await openHearer()
  await using two = await openHearer()
  await using relay = await openTestRelay({ targets: ['ECHO'], flow: tee(one.address, two.address) })
  for (const words of ['first', 'second']) expect(await exchange(relay.port, words)).toBe(words)
  await until('both have heard', () => one.heard.length === 2 && two.heard.length === 2)
  expect(one.heard.toSorted()).toEqual(['first', 'second'])
  expect(two.heard.toSorted()).toEqual(['first', 'second'])
})

test('a file keeps what every connection said, with its time if the target gets that too', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'copy.log')
  {
    const flow = { ...tee(`OPEN:${path},append,creat`), timestamp: true }
    await using relay = await openTestRelay({ targets: ['DISCARD'], flow })
    for (const words of ['one\n', 'two\n']) await exchange(relay.port, words)
    await relay.relay.close()
  }
  expect(readFileSync(path, 'utf8').replace(/\S+Z /g, '@')).toBe('@one\n@two\n')
})

test('a tee that cannot be opened is told of, harms nobody, and is tried again for the next', async () => {
  await using gone = await openServer(() => {})
  const { port } = gone
  await gone[Symbol.asyncDispose]()
  await using relay = await openTestRelay({ targets: ['ECHO'], flow: tee(`TCP4:127.0.0.1:${port}`) })
  expect(await exchange(relay.port, 'first')).toBe('first')
  await until('it is told of', () => relay.failed.length === 1)
  expect(relay.failed[0]).toMatchObject({ code: 'refused', what: `tee TCP4:127.0.0.1:${port}` })
  const heard = Promise.withResolvers<string>()
  await using _server = await openServer(
    socket => {
      receive(socket).then(all => heard.resolve(String(all)), heard.reject)
    },
    { port },
  )
  expect(await exchange(relay.port, 'second')).toBe('second')
  expect(await heard.promise).toBe('second')
  expect(relay.closed.map(({ cause }) => cause)).toEqual(['eof', 'eof'])
})

test('a tee that breaks in the middle is told of, and the connection goes on', async () => {
  await using server = await openServer(socket => {
    socket.once('data', () => socket.resetAndDestroy()).resume()
  })
  await using relay = await openTestRelay({ targets: ['ECHO'], flow: tee(`TCP4:127.0.0.1:${server.port}`) })
  await using client = await openClient(relay.port)
  client.write('one ')
  await until('it is told of', () => relay.failed.length === 1)
  expect(relay.failed[0]?.what).toBe(`tee TCP4:127.0.0.1:${server.port}`)
  client.end('two')
  expect(String(await receive(client))).toBe('one two')
})

test('a tee that does not read loses, which is counted, and 256 MiB go through in no more memory', async () => {
  await using stalled = await openServer(socket => void socket.pause())
  const flow = tee(`TCP4:127.0.0.1:${stalled.port}`)
  await using relay = await openTestRelay({ targets: ['DISCARD'], flow })
  await using client = await openClient(relay.port)
  const before = process.memoryUsage().rss
  let most = 0
  const chunk = Buffer.alloc(mebibyte, 'x')
  const chunks = function* () {
    for (let n = 0; n < 256; n++) {
      most = Math.max(most, process.memoryUsage().rss - before)
      yield chunk
    }
  }
  await send(client, chunks())
  client.end()
  await digest(client)
  await until('all has gone through', () => relay.closed[0]?.connection.bytesIn === 256 * mebibyte)
  expect(relay.closed[0]?.cause).toBe('eof')
  expect(relay.refused.filter(({ cause }) => cause === 'tee-dropped').length).toBeGreaterThan(0)
  expect(most).toBeLessThan(192 * mebibyte)
  await cutOff(relay.relay, stalled)
})

/** What a copy still has to write when its connection is over is cut with the relay. */
async function cutOff(relay: Awaited<ReturnType<typeof openTestRelay>>['relay'], server: TestServer) {
  await relay.abort(new RelayError('revoked', { what: 'the relay' }))
  for (const socket of server.sockets) socket.resume()
  await until('its descriptor is gone', () => server.sockets.size === 0)
}

test('what a tee has not taken when the connection ends is still written, and keeps no place', async () => {
  const paused = Promise.withResolvers<void>()
  const heard = Promise.withResolvers<number>()
  await using slow = await openServer(socket => {
    socket.pause()
    paused.promise.then(() => digest(socket)).then(({ bytes }) => heard.resolve(bytes), heard.reject)
  })
  const flow = tee(`TCP4:127.0.0.1:${slow.port}`)
  await using relay = await openTestRelay({ targets: ['DISCARD'], flow, limits: { maxConnections: 1 } })
  await using client = await openClient(relay.port)
  client.end(Buffer.alloc(900_000))
  await receive(client)
  await until('the connection is over', () => relay.closed.length === 1)
  expect(relay.relay.connections.size).toBe(0)
  paused.resolve()
  expect(await heard.promise).toBe(900_000)
})

test('a cut connection takes its copies with it', async () => {
  await using server = await openServer(socket => void socket.resume())
  const flow = tee(`TCP4:127.0.0.1:${server.port}`)
  await using relay = await openTestRelay({ targets: ['ECHO'], flow })
  await using client = await openClient(relay.port)
  client.resume().write('words')
  await until('the copy is being made', () => [...server.sockets][0]?.bytesRead === 5)
  await relay.relay.cut('connection-1', new RelayError('revoked', { what: 'the connection' }))
  await until('it is gone', () => server.sockets.size === 0)
  expect(relay.failed).toEqual([])
})

test('a listener cannot be a tee, and where one may go is asked as for a target', async () => {
  await using relay = startRelay({ targets: ['ECHO'], flow: tee('TCP4-LISTEN:0') })
  const state = await until(
    'it is rejected',
    () => relay.relay.state.name === 'rejected' && relay.relay.state,
  )
  expect(state).toMatchObject({ error: { code: 'usage' } })
  const egress = {
    check({ text }: { text: string }) {
      if (text.startsWith('MEMORY')) throw new RelayError('denied', { what: text, why: 'the test says so' })
    },
  }
  await using denied = await openTestRelay({ targets: ['ECHO'], flow: tee('MEMORY:secret'), egress })
  expect(await exchange(denied.port, 'words')).toBe('words')
  await until('it is told of', () => denied.failed[0]?.code === 'denied')
})
