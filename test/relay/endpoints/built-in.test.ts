import { hostname, uptime } from 'node:os'
import { describe, expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress, bindListen } from '#relay/endpoints/index.ts'
import { openInside } from '#relay/endpoints/inside.ts'
import { conformance } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { exchange, openClient } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

conformance('a conversation with a built-in', {
  resets: true,
  async open() {
    const { promise, resolve } = Promise.withResolvers<Channel>()
    const near = openInside(bindAddress('ECHO').scope, openContext(), resolve)
    return { near, far: await promise, [Symbol.asyncDispose]: () => near[Symbol.asyncDispose]() }
  },
})

test('HEALTH answers curl with 200 and JSON, over HTTP/1.1, and closes', async () => {
  await using relay = await openTestRelay({ targets: ['HEALTH'] })
  const { stdout } = await run(['curl', '-si', `http://127.0.0.1:${relay.port}/any/path`])
  const [head = '', body = ''] = stdout.split('\r\n\r\n')
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(head).toMatch(/\r\ncontent-type: application\/json\r\n/i)
  expect(head).toMatch(/\r\nconnection: close(\r\n|$)/i)
  const { host, time, load, ...rest } = JSON.parse(body)
  expect(host).toBe(hostname())
  expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(10_000)
  expect(load).toEqual([expect.any(Number), expect.any(Number), expect.any(Number)])
  expect(rest.status).toBe('ok')
  expect(Math.abs(rest.uptime - uptime())).toBeLessThan(10)
})

test('HEALTH answers HEAD without a body, and nothing but GET and HEAD', async () => {
  await using relay = await openTestRelay({ targets: ['HEALTH'] })
  const head = await run(['curl', '-sI', `http://127.0.0.1:${relay.port}/`])
  expect(head.stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n.*content-length: \d+\r\n.*\r\n\r\n$/is)
  const post = await run(['curl', '-si', '-d', 'x=1', `http://127.0.0.1:${relay.port}/`])
  expect(post.stdout).toMatch(
    /^HTTP\/1\.1 405 Method Not Allowed\r\n.*allow: GET, HEAD\r\n.*are answered here\.\n$/is,
  )
})

test('HEALTH stays with HTTP/1.1 when a client offers HTTP/2', async () => {
  await using relay = await openTestRelay({ targets: ['HEALTH'] })
  const upgrade = await run(['curl', '-si', '--http2', `http://127.0.0.1:${relay.port}/`])
  expect(upgrade.stdout).toMatch(/^HTTP\/1\.1 200 OK/)
  expect(await exchange(relay.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
})

test.each([
  ['a client that ends right after its request', 'GET / HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 OK/],
  ['one request of several at once', 'GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n', /^HTTP(?!.*HTTP)/s],
  ['a request that names no host', 'GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 200 OK/],
  ['what is no request', 'hello there\r\n\r\n', /^HTTP\/1\.1 400 Bad Request/],
  ['headers without end', `GET / HTTP/1.1\r\nx: ${'y'.repeat(100_000)}`, /^HTTP\/1\.1 431 /],
  ['a client that says nothing', '', /^$/],
])('HEALTH has an answer for %s', async (_, words, answer) => {
  await using relay = await openTestRelay({ targets: ['HEALTH'] })
  expect(await exchange(relay.port, words)).toMatch(answer)
  await until('the connection is over', () => relay.closed.length === 1)
})

test('STATUS says in four lines what HEALTH says, without being asked', async () => {
  await using relay = await openTestRelay({ targets: ['STATUS'] })
  const { stdout } = await run(['socat', '-u', `TCP4:127.0.0.1:${relay.port}`, '-'])
  const lines = stdout.trimEnd().split('\n')
  expect(lines.map(line => line.split(': ')[0])).toEqual(['host', 'time', 'uptime', 'load'])
  expect(lines[0]).toBe(`host: ${hostname()}`)
  expect(lines[3]).toMatch(/^load: [\d.]+ [\d.]+ [\d.]+$/)
})

test('PORTS says as JSON which serial ports there are, and ends', async () => {
  await using relay = await openTestRelay({ targets: ['PORTS'] })
  const { ports } = JSON.parse(await exchange(relay.port, ''))
  for (const port of ports) {
    expect(port).toMatchObject({
      path: expect.stringMatching(/^\/dev\//),
      names: expect.any(Array),
      users: expect.any(Array),
    })
  }
})

test('ECHO sends back every byte, and then ends', async () => {
  await using relay = await openTestRelay({ targets: ['ECHO'] })
  const words = 'a line\n'.repeat(100_000)
  expect((await exchange(relay.port, words)) === words).toBe(true)
  await until('the connection is over', () => relay.closed.length === 1)
  expect(relay.closed[0]).toMatchObject({
    cause: 'eof',
    connection: { bytesIn: words.length, bytesOut: words.length },
  })
})

test('DISCARD takes every byte, says nothing, and ends with its client', async () => {
  await using relay = await openTestRelay({ targets: ['DISCARD'] })
  expect(await exchange(relay.port, 'x'.repeat(1_000_000))).toBe('')
  await until('the connection is over', () => relay.closed.length === 1)
  expect(relay.closed[0]).toMatchObject({ cause: 'eof', connection: { bytesIn: 1_000_000, bytesOut: 0 } })
})

describe.each([
  ['ZERO', (bytes: Buffer) => bytes.every(byte => byte === 0)],
  ['CHARGEN', (bytes: Buffer) => bytes.subarray(0, 148).toString('latin1') === firstLines],
])('%s', (kind, isRight) => {
  test('goes on until its client has gone', async () => {
    await using relay = await openTestRelay({ targets: [kind] })
    await using client = await openClient(relay.port)
    client.end()
    const taken = await new Promise<Buffer>(resolve => {
      const pieces: Buffer[] = []
      client.on('data', (piece: Buffer) => {
        pieces.push(piece)
        if (pieces.reduce((sum, { length }) => sum + length, 0) > 5_000_000) {
          client.destroy()
          resolve(Buffer.concat(pieces))
        }
      })
    })
    expect(isRight(taken)).toBe(true)
    await until('the relay has noticed', () => relay.closed.length === 1)
  })

  test('waits for a client that does not read, and is cut at once', async () => {
    await using relay = await openTestRelay({ targets: [kind] })
    await using client = await openClient(relay.port)
    client.pause()
    let before = -1
    await until('nothing moves any more', () => {
      const now = relay.opened[0]?.bytesOut ?? 0
      const still = now > 0 && now === before
      before = now
      return still
    })
    expect(before).toBeLessThan(64 * 1_048_576)
  })
})

const firstLines =
  ' !"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n!"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n'

test('CHARGEN turns through all of its characters and begins anew', async () => {
  await using channel = await bindAddress('CHARGEN').dialer!.dial(openContext())
  const lines: string[] = []
  for await (const chunk of channel.stream) {
    lines.push(...String(chunk).split('\r\n').slice(0, -1))
    if (lines.length > 190) break
  }
  expect(new Set(lines).size).toBe(95)
  expect(lines[95]).toBe(lines[0])
  expect(lines.every(line => line.length === 72)).toBe(true)
})

test('TIME says the seconds since 1900 in four bytes', async () => {
  await using channel = await bindAddress('TIME').dialer!.dial(openContext())
  const answer = await receive(channel.stream)
  expect(answer).toHaveLength(4)
  expect(Math.abs(answer.readUInt32BE() - 2_208_988_800 - Date.now() / 1_000)).toBeLessThan(10)
})

needing('socat')('a relay of socat reaches a built-in as any other server', async () => {
  await using relay = await openTestRelay({ targets: ['ECHO'] })
  const { stdout } = await run(['socat', '-t', '5', '-', `TCP4:127.0.0.1:${relay.port}`], { input: 'hello' })
  expect(stdout).toBe('hello')
  await using _noise = startProgram(['socat', '-u', '/dev/zero', `TCP4:127.0.0.1:${relay.port}`])
  await until('it is busy', () => relay.opened.length === 2 && relay.opened[1]!.bytesIn > 1_000_000)
})

test('built-ins take no arguments and no options, and wait for nobody', () => {
  expect(() => bindAddress('ECHO:7')).toThrow('address `ECHO:7`: ECHO takes no arguments. Write `ECHO`')
  expect(() => bindAddress('HEALTH,fork')).toThrow(/option `fork` is not one of HEALTH/)
  expect(() => bindListen('HEALTH')).toThrow(/Start the relay with a listening address/)
})
