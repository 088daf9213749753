import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bindAddress, groupsOf, kindOf, kinds } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { exchanged, withCr, withoutCr } from '#relay/layers/line-ends.ts'
import { through } from '#relay/layers/through.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openTestRelay, startRelay } from '#test/resources/relays.ts'
import { openClient, openServer } from '#test/resources/servers.ts'
import { failureOf, receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'
import { conformance } from '../../conformance/endpoint.ts'

const anyListener = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'

conformance('a channel that goes through a layer', {
  resets: true,
  async open() {
    const [inner, far] = memoryPair({ text: 'memory:far' }, { text: 'memory:near' })
    const near = through(inner, { write: chunk => chunk, read: chunk => chunk })
    return {
      near,
      far,
      async [Symbol.asyncDispose]() {
        await near[Symbol.asyncDispose]()
        await far[Symbol.asyncDispose]()
      },
    }
  },
})

conformance('a TCP socket that goes through a layer', {
  resets: true,
  async open() {
    await using listener = await bindAddress('TCP4-LISTEN:0,bind=127.0.0.1').acceptor!.listen(openContext())
    const dialled = await bindAddress(`TCP4:${listener.local}`).dialer!.dial(openContext())
    const { value: far } = await listener[Symbol.asyncIterator]().next()
    const near = through(dialled, { write: chunk => chunk })
    return {
      near,
      far,
      async [Symbol.asyncDispose]() {
        await near[Symbol.asyncDispose]()
        await far[Symbol.asyncDispose]()
      },
    }
  },
})

/** What each side hears when both say all they have to say and end. */
async function exchangeThrough(options: { listen?: string; target?: string }, words: string, answer: string) {
  const heard = Promise.withResolvers<string>()
  await using server = await openServer(socket => {
    receive(socket).then(all => heard.resolve(String(all)), heard.reject)
    socket.end(answer)
  })
  const listen = anyListener + (options.listen ?? '')
  await using relay = await openTestRelay({
    listen,
    targets: [`TCP4:127.0.0.1:${server.port}${options.target ?? ''}`],
  })
  await using client = await openClient(relay.port)
  client.end(words)
  const back = String(await receive(client))
  return { there: await heard.promise, back }
}

test.each([
  [{ target: ',crnl' }, 'a\nb\n\nc', 'x\r\ny\rz\n', 'a\r\nb\r\n\r\nc', 'x\nyz\n'],
  [{ target: ',cr' }, 'a\nb\n\nc', 'x\ry\r', 'a\rb\r\rc', 'x\ny\n'],
  [{ listen: ',crlf' }, 'GET /\r\n\r\n', 'ok\n', 'GET /\n\n', 'ok\r\n'],
  [{ listen: ',cr', target: ',crnl' }, 'a\rb\r', 'x\r\ny', 'a\r\nb\r\n', 'x\ry'],
])('line ends are exchanged both ways: %o', async (options, words, answer, there, back) => {
  expect(await exchangeThrough(options, words, answer)).toEqual({ there, back })
})

needing('socat')('line ends are those of socat', async () => {
  const words = 'a\nb\r\nc\r\rd\n\n\r'
  for (const option of ['cr', 'crnl']) {
    const written = await run(['socat', '-u', '-', `-,${option}`], { input: words })
    const read = await run(['socat', '-u', `-,${option}`, '-'], { input: words })
    const { there, back } = await exchangeThrough({ target: `,${option}` }, words, words)
    expect({ there, back }, option).toEqual({ there: written.stdout, back: read.stdout })
  }
})

test('where a chunk ends makes no difference to its line ends', () => {
  const text = fc.array(fc.constantFrom('\r', '\n', 'a', 'b'), { maxLength: 40 }).map(each => each.join(''))
  const cuts = fc.array(fc.nat(6), { maxLength: 12 })
  fc.assert(
    fc.property(text, cuts, (text, cuts) => {
      for (const convert of [exchanged('nl', 'cr'), exchanged('cr', 'nl'), withoutCr, withCr]) {
        const whole = convert(Buffer.from(text)).toString()
        expect(Buffer.concat(piecesOf(text, cuts).map(convert)).toString()).toBe(whole)
      }
    }),
  )
})

function piecesOf(text: string, cuts: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  let from = 0
  for (const length of cuts) {
    pieces.push(Buffer.from(text.slice(from, from + length)))
    from += length
  }
  return [...pieces, Buffer.from(text.slice(from))]
}

test('only so many bytes are read, and then it counts as ended', async () => {
  expect(await exchangeThrough({ listen: ',readbytes=3' }, 'abcdef', 'x')).toEqual({
    there: 'abc',
    back: 'x',
  })
  expect(await exchangeThrough({ target: ',bytes=4' }, 'a', 'uvwxyz')).toEqual({ there: 'a', back: 'uvwx' })
})

test('a character ends it, and is not handed on', async () => {
  expect(await exchangeThrough({ listen: ',escape=0x0f' }, 'ab\x0fcd', 'x')).toEqual({
    there: 'ab',
    back: 'x',
  })
})

test('an end is held back until the other side has ended too', async () => {
  const ended = Promise.withResolvers<void>()
  await using server = await openServer(socket => {
    socket.resume().once('end', () => ended.resolve())
    socket.write('words')
    setImmediate(() => socket.end())
  })
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port},ignoreeof`] })
  await using client = await openClient(relay.port)
  let heard = ''
  let isOver = false
  client.on('data', words => {
    heard += words
  })
  client.once('end', () => {
    isOver = true
  })
  await until('all has been said', () => heard === 'words')
  await until('the target has ended', () => [...server.sockets][0]?.writableFinished)
  expect(isOver).toBe(false)
  client.end()
  await ended.promise
  await until('the connection is over', () => relay.closed[0]?.cause === 'eof' && isOver)
})

test('shut-none: the target is not told of the end, and its answer still comes', async () => {
  let wasTold = false
  await using server = await openServer(socket => {
    socket.once('data', () => socket.write('answer')).resume()
    socket.once('end', () => {
      wasTold = true
    })
  })
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port},shut-none`] })
  await using client = await openClient(relay.port)
  client.end('?')
  const [answer] = await once(client, 'data')
  expect(String(answer)).toBe('answer')
  expect(wasTold).toBe(false)
  for (const socket of server.sockets) socket.end()
  await receive(client)
  await until('the connection is over', () => relay.closed[0]?.cause === 'eof')
})

test('shut-close: the end of the client is the end of both ways', async () => {
  const closed = Promise.withResolvers<string>()
  await using server = await openServer(socket => {
    receive(socket).then(all => closed.resolve(String(all)), closed.reject)
  })
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port},shut-close`] })
  await using client = await openClient(relay.port)
  client.end('last words')
  expect(String(await receive(client))).toBe('')
  expect(await closed.promise).toBe('last words')
  await until('the connection is over', () => relay.closed[0]?.cause === 'eof')
})

test('a datagram stays one, and its line ends are exchanged inside it', async () => {
  await using server = await openDatagramSocket()
  const listen = 'UDP4-LISTEN:0,bind=127.0.0.1,fork,crnl'
  await using relay = await openTestRelay({ listen, targets: [`UDP4:127.0.0.1:${server.port},cr`] })
  await using client = await openDatagramSocket()
  for (const words of ['a\r\nb', '', 'c']) await client.send(words, relay.port)
  await until('all three have come', () => server.got.length === 3)
  expect(server.got.map(({ text }) => text)).toEqual(['a\rb', '', 'c'])
})

test('an abort reaches through, and so does a reset of the peer', async () => {
  await using server = await openServer(socket => void socket.resetAndDestroy())
  await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port},crnl`] })
  await using client = await openClient(relay.port)
  client.resume()
  expect(await failureOf(client)).toBe('ECONNRESET')
})

test('a lock file is there while the address is open, and keeps others out', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'lock')
  await using server = await openServer(socket => void socket.pipe(socket))
  const target = `TCP4:127.0.0.1:${server.port},lockfile=${path}`
  await using relay = await openTestRelay({ targets: [target] })
  {
    await using first = await openClient(relay.port)
    await until('it is there', () => existsSync(path))
    await using second = await openClient(relay.port)
    second.resume()
    expect(await failureOf(second)).toBe('ECONNRESET')
    expect(relay.failed[0]).toMatchObject({ code: 'conflict', what: expect.stringContaining(path) })
    first.end()
    await receive(first)
  }
  await until('it has gone', () => !existsSync(path))
})

test('waitlock waits until the file of another has gone', async () => {
  await using folder = await openFolder()
  const path = join(folder.path, 'lock')
  await using first = await openTestRelay({ listen: `${anyListener},lockfile=${path}`, targets: ['ECHO'] })
  await using second = startRelay({ listen: `${anyListener},waitlock=${path}`, targets: ['ECHO'] })
  expect(second.relay.state.name).toBe('pending')
  await first.relay.close()
  await until('it is its turn', () => second.relay.state.name === 'ready')
  expect(existsSync(path)).toBe(true)
})

test('every kind has them, in its help too, and says what it refuses', () => {
  for (const kind of kinds) {
    const names = groupsOf(kind).flatMap(({ options }) => Object.values(options).map(({ name }) => name))
    expect(names, kind.keyword).toEqual(expect.arrayContaining(['crnl', 'ignoreeof', 'null-eof']))
    expect(new Set(names).size, kind.keyword).toBe(names.length)
  }
  expect(kindOf('ECHO')?.groups).toEqual([])
})

test('addresses without them are bound as ever', () => {
  expect(bindAddress('TCP4:a:1,nonblock').address.text).toBe('TCP4:a:1,nonblock')
  expect(bindAddress('TCP4:a:1,crnl,lockfile=/run/x')).toMatchObject({
    address: { text: 'TCP4:a:1,crnl,lockfile=/run/x' },
    scope: { text: 'TCP4:a:1' },
    writes: [{ text: 'OPEN:/run/x,wronly,creat' }],
  })
})

test.each([
  ['TCP4:a:1,cr,crnl', /`cr` and `crnl` contradict each other. Keep one/],
  ['TCP4:a:1,shut-none,shut-close', /contradict each other/],
  ['TCP4:a:1,readbytes=0', /`readbytes=0`: it must be a whole number from 1/],
  ['TCP4:a:1,escape=300', /from 0 to 255/],
  ['TCP4:a:1,nonblock=0', /Node opens all descriptors like that/],
  ['TCP4:a:1,ioctl=1', /Node has no call for it/],
  ['ECHO,crln', /Did you mean `crnl`\?/],
])('%s is refused', (address, message) => {
  expect(() => bindAddress(address)).toThrow(message)
})
