import { scryptSync } from 'node:crypto'
import { once } from 'node:events'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Channel, Lookup } from '#relay/endpoint.ts'
import { bindAddress, bindAll } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { socks5Greeting, socks5Request } from '#relay/proxies/socks5.ts'
import { conformance, type Pair } from '#test/conformance/endpoint.ts'
import { openConnectProxy } from '#test/resources/connect-proxy.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openTestRelay, startRelay, type TestRelay } from '#test/resources/relays.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { ended, failureOf, receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const lookup: Lookup = async host => {
  const known: Record<string, string> = { 'db.test': '127.0.0.1', 'metadata.test': '169.254.169.254' }
  if (known[host]) return [{ address: known[host], family: 4 }]
  throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
}

const openProxy = (target = 'ASKED', listen = ''): Promise<TestRelay> =>
  openTestRelay({ listen: `SOCKS-LISTEN:0,bind=127.0.0.1,fork${listen}`, targets: [target], lookup })

/** The client lets through what the proxy has to refuse. */
const dial = (text: string): Promise<Channel> =>
  bindAddress(text).dialer!.dial(openContext({ egress: { check() {} } }))

const refusal = (text: string): Promise<RelayError> =>
  dial(text).then(
    () => Promise.reject(new Error('it was opened')),
    (error: RelayError) => error,
  )

/** A conversation through a proxy, from one end to the other. */
async function throughProxy(addressOf: (port: number, target: number) => string): Promise<Pair> {
  const held = new AsyncDisposableStack()
  const proxy = held.use(await openProxy())
  const listener = await bindAddress('TCP4-LISTEN:0,bind=127.0.0.1').acceptor!.listen(openContext())
  const target = Number(listener.local.split(':')[1])
  const [near, { value }] = await Promise.all([
    dial(addressOf(proxy.port, target)),
    listener[Symbol.asyncIterator]().next(),
  ])
  held.use(listener)
  return {
    near: held.use(near),
    far: held.use(value as Channel),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

for (const kind of ['SOCKS4', 'SOCKS4A', 'SOCKS5']) {
  conformance(`a ${kind} through SOCKS-LISTEN`, {
    resets: true,
    open: () => throughProxy((port, target) => `${kind}:127.0.0.1:127.0.0.1:${target},socksport=${port}`),
    unreachable: () => ({
      endpoint: bindAddress(`${kind}:127.0.0.1:127.0.0.1:9,socksport=1`),
      code: 'refused',
    }),
  })
}

conformance('a PROXY', {
  resets: true,
  async open() {
    const held = new AsyncDisposableStack()
    const proxy = held.use(await openConnectProxy())
    const pair = held.use(
      await throughProxy((_, target) => `PROXY:127.0.0.1:127.0.0.1:${target},proxyport=${proxy.port}`),
    )
    return { near: pair.near, far: pair.far, [Symbol.asyncDispose]: () => held.disposeAsync() }
  },
  unreachable: () => ({ endpoint: bindAddress('PROXY:127.0.0.1:127.0.0.1:9,proxyport=1'), code: 'refused' }),
})

describe('clients of other makes', () => {
  const serveHttp = () =>
    openServer(socket => {
      socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\nthrough the proxy')).resume()
    })

  needing('curl')('curl, in all the ways it knows', async () => {
    await using proxy = await openProxy()
    await using server = await serveHttp()
    for (const [way, host] of [
      ['--socks4', '127.0.0.1'],
      ['--socks4a', 'db.test'],
      ['--socks5', '127.0.0.1'],
      ['--socks5-hostname', 'db.test'],
    ] as const) {
      const url = `http://${host}:${server.port}/`
      const { stdout } = await run(['curl', '-sS', way, `127.0.0.1:${proxy.port}`, url])
      expect(stdout, way).toBe('through the proxy')
    }
    expect(new Set(proxy.opened.map(({ target }) => target))).toEqual(
      new Set([`TCP:127.0.0.1:${server.port}`, `TCP:db.test:${server.port}`]),
    )
  })

  needing('curl')('curl with a password', async () => {
    await using scratch = await openScratch()
    const file = join(scratch.path, 'users')
    await writeFile(file, 'alice:secret\n', { mode: 0o600 })
    await using proxy = await openProxy('ASKED', `,users-file=${file}`)
    await using server = await serveHttp()
    const ask = (user: string) =>
      run([
        ...['curl', '-sS', '--socks5-hostname', `127.0.0.1:${proxy.port}`, '--proxy-user', user],
        `http://127.0.0.1:${server.port}/`,
      ])
    expect((await ask('alice:secret')).stdout).toBe('through the proxy')
    expect((await ask('alice:wrong')).stderr).toMatch(/rejected/)
  })

  needing('socat')("socat's SOCKS4 and SOCKS4A", async () => {
    await using proxy = await openProxy()
    await using server = await openEchoServer()
    for (const kind of ['SOCKS4', 'SOCKS4A']) {
      const target = `${kind}:127.0.0.1:127.0.0.1:${server.port},socksport=${proxy.port}`
      const { stdout } = await run(['socat', '-t5', '-', target], { input: 'from socat' })
      expect(stdout).toBe('from socat')
    }
  })

  needing('socat')("our SOCKS4A and socat's own HTTP client agree about who is asked", async () => {
    await using proxy = await openConnectProxy()
    await using server = await openEchoServer()
    const target = `PROXY:127.0.0.1:127.0.0.1:${server.port},proxyport=${proxy.port}`
    const { stdout } = await run(['socat', '-t5', '-', target], { input: 'from socat' })
    expect(stdout).toBe('from socat')
    await using channel = await dial(target)
    channel.stream.end()
    await ended(channel.stream)
    const [socat, ours] = proxy.heads.map(head => head.split('\r\n')[0])
    expect(ours).toBe(socat)
  })
})

describe('where a client may go', () => {
  test.each([
    ['ASKED', 'db.test', undefined],
    ['ASKED:*.test:*', 'db.test', undefined],
    ['ASKED:127.0.0.0/8:*', 'db.test', undefined],
    ['ASKED,allow-to=other.test:80;127.0.0.1:*', 'db.test', undefined],
    ['ASKED:*.example:*', 'db.test', "the relay's `allow-to` does not have it"],
    ['ASKED:*:1-1023', 'db.test', "the relay's `allow-to` does not have it"],
    ['ASKED,deny-to=127.0.0.0/8:*', 'db.test', "the relay's `deny-to` has 127.0.0.0/8:*"],
    ['ASKED:*.test:*,deny-to=db.*:*', 'db.test', "the relay's `deny-to` has db.*:*"],
    ['ASKED', 'metadata.test', '169.254.0.0/16 holds link-local'],
  ])('%s for %s', async (target, host, why) => {
    await using proxy = await openProxy(target)
    await using server = await openEchoServer()
    const address = `SOCKS5:127.0.0.1:${host}:${server.port},socksport=${proxy.port}`
    if (why === undefined) {
      await using channel = await dial(address)
      channel.stream.end('hello')
      expect(String(await receive(channel.stream))).toBe('hello')
      await until('the connection is over', () => proxy.closed.length === 1)
      return
    }
    expect(await refusal(address)).toMatchObject({
      code: 'denied',
      why: 'the proxy answered: connection not allowed by ruleset (2)',
    })
    expect(proxy.failed).toHaveLength(1)
    expect(proxy.failed[0]).toMatchObject({ code: 'denied', why: expect.stringContaining(why) })
    expect(server.sockets.size).toBe(0)
  })

  test('the reply says what was in the way', async () => {
    await using proxy = await openProxy('ASKED,connect-timeout=80ms')
    const ask = async (place: string) =>
      (await refusal(`SOCKS5:127.0.0.1:${place},socksport=${proxy.port}`)).why
    expect(await ask('127.0.0.1:1')).toBe('the proxy answered: connection refused (5)')
    expect(await ask('nobody.test:80')).toBe('the proxy answered: host unreachable (4)')
    expect(await ask('[::ffff:169.254.1.1]:80')).toContain('(2)')
    expect((await refusal(`SOCKS4A:127.0.0.1:nobody.test:80,socksport=${proxy.port}`)).why).toBe(
      'the proxy answered: request rejected or failed (91)',
    )
    await until('all are over', () => proxy.closed.length === 4)
    expect(proxy.failed.map(({ code }) => code)).toEqual(['refused', 'unresolved', 'denied', 'unresolved'])
  })

  test('a live connection is listed with the place that its client asked for', async () => {
    await using proxy = await openProxy()
    await using server = await openEchoServer()
    await using _channel = await dial(`SOCKS5:127.0.0.1:db.test:${server.port},socksport=${proxy.port}`)
    const [connection] = proxy.relay.connections.values()
    expect(connection).toMatchObject({ target: `TCP:db.test:${server.port}`, targetIp: '127.0.0.1' })
  })
})

describe('what is refused at the door', () => {
  /** What comes back for these words, until the proxy ends the conversation. */
  async function answerTo(proxy: TestRelay, ...words: (Buffer | string)[]): Promise<string> {
    await using client = await openClient(proxy.port)
    for (const each of words) client.write(each)
    return (await receive(client)).toString('hex')
  }

  test.each([
    [
      'BIND of SOCKS5',
      [socks5Greeting([0]), Buffer.from('05020001c000020100 50'.replace(' ', ''), 'hex')],
      '0500' + '0507000100000000' + '0000',
      'unsupported',
    ],
    [
      'UDP ASSOCIATE',
      [socks5Greeting([0]), Buffer.from('050300010000000000 00'.replace(' ', ''), 'hex')],
      '0500' + '0507000100000000' + '0000',
      'unsupported',
    ],
    ['BIND of SOCKS4', [Buffer.from('040200507f00000100', 'hex')], '005b000000000000', 'unsupported'],
    ['no method that it takes', [socks5Greeting([2, 1])], '05ff', 'unauthenticated'],
    [
      'a name with control characters',
      [socks5Greeting([0]), socks5Request('a\x1b[31m\nb', 80)],
      '0500' + '0504000100000000' + '0000',
      'usage',
    ],
    [
      'an empty name',
      [socks5Greeting([0]), socks5Request('', 80)],
      '0500' + '0504000100000000' + '0000',
      'usage',
    ],
    [
      'port 0',
      [socks5Greeting([0]), socks5Request('db.test', 0)],
      '0500' + '0504000100000000' + '0000',
      'usage',
    ],
  ])('%s', async (_, words, answer, code) => {
    await using proxy = await openProxy()
    expect(await answerTo(proxy, ...words)).toBe(answer)
    await until('it is counted', () => proxy.failed.length === 1)
    expect(proxy.failed[0]!.code).toBe(code)
    expect(proxy.failed[0]!.message).not.toMatch(/\p{Cc}/u)
    expect(proxy.opened).toEqual([])
  })

  test('words of another protocol are cut off, and shown harmless', async () => {
    await using proxy = await openProxy()
    await using client = await openClient(proxy.port)
    client.write('GET / HTTP/1.1\r\n\r\n')
    expect(await failureOf(client.resume())).toBe('ECONNRESET')
    await until('it is counted', () => proxy.failed.length === 1)
    expect(proxy.failed[0]).toMatchObject({
      code: 'usage',
      message: expect.stringContaining('it does not speak SOCKS'),
    })
  })

  test('a client that never comes to its point is cut after its time, and takes no room', async () => {
    await using proxy = await openTestRelay({
      listen: 'SOCKS-LISTEN:0,bind=127.0.0.1,fork,accept-timeout=400ms',
      targets: ['ASKED'],
      limits: { maxConnections: 1 },
    })
    await using server = await openEchoServer()
    const address = `SOCKS5:127.0.0.1:127.0.0.1:${server.port},socksport=${proxy.port}`
    await (await dial(address))[Symbol.asyncDispose]()
    await until('somebody has come in time', () => proxy.closed.length === 1)
    await using slow = await openClient(proxy.port)
    slow.write(socks5Greeting([0]))
    await once(slow.resume(), 'data')
    await using _served = await dial(address)
    expect(await failureOf(slow)).toBe('ECONNRESET')
    await until('it is counted', () => proxy.failed.length === 1)
    expect(proxy.failed[0]).toMatchObject({ code: 'timed-out' })
  })

  test('sources and room are judged as for any listener', async () => {
    await using proxy = await openTestRelay({
      listen: 'SOCKS-LISTEN:0,bind=127.0.0.1,fork,deny=127.0.0.2/32',
      targets: ['ASKED'],
      limits: { maxConnections: 1 },
    })
    await using server = await openEchoServer()
    const address = `SOCKS5:127.0.0.1:127.0.0.1:${server.port},socksport=${proxy.port}`
    expect((await refusal(`${address},bind=127.0.0.2`)).code).toBe('reset')
    await using _first = await dial(address)
    expect((await refusal(address)).code).toBe('reset')
    expect(proxy.refused.map(({ cause }) => cause)).toEqual(['denied-source', 'max-connections'])
  })
})

describe('users', () => {
  const salt = Buffer.from('0123456789abcdef')
  const hash = scryptSync('canary-hashed', salt, 32, { N: 1_024, r: 8, p: 1 })
  const base64 = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '')
  const hashed = `$scrypt$ln=10,r=8,p=1$${base64(salt)}$${base64(hash)}`

  async function withUsers(lines: string) {
    const held = new AsyncDisposableStack()
    const { path } = held.use(await openScratch())
    const users = join(path, 'users')
    const secret = join(path, 'secret')
    await writeFile(users, lines, { mode: 0o600 })
    const proxy = held.use(await openProxy('ASKED', `,users-file=${users}`))
    const server = held.use(await openEchoServer())
    const address = `SOCKS5:127.0.0.1:127.0.0.1:${server.port},socksport=${proxy.port}`
    return {
      users,
      proxy,
      address,
      async login(user: string, password: string): Promise<string> {
        await writeFile(secret, password, { mode: 0o600 })
        try {
          await using _channel = await dial(`${address},socksuser=${user},sockspass-file=${secret}`)
          return 'welcome'
        } catch (error) {
          return (error as RelayError).why
        }
      },
      [Symbol.asyncDispose]: () => held.disposeAsync(),
    }
  }

  test('plain and hashed passwords are told from wrong ones', async () => {
    await using door = await withUsers(`# who may\n\nalice:canary-plain\nbob:${hashed}\n`)
    const refused = 'the proxy answered: login refused'
    expect(await door.login('alice', 'canary-plain')).toBe('welcome')
    expect(await door.login('alice', 'canary-plainer')).toBe(refused)
    expect(await door.login('bob', 'canary-hashed')).toBe('welcome')
    expect(await door.login('bob', 'canary-hashed')).toBe('welcome')
    expect(await door.login('bob', hashed)).toBe(refused)
    expect(await door.login('bob', 'canary-plain')).toBe(refused)
    expect(await door.login('carol', 'canary-hashed')).toBe(refused)
    expect((await refusal(door.address)).why).toContain('no acceptable way to log in')
    expect((await refusal(door.address.replace('SOCKS5', 'SOCKS4'))).code).toBe('refused')
    const told = JSON.stringify([door.proxy.failed, door.proxy.opened, door.proxy.failed.map(e => e.message)])
    expect(told).not.toContain('canary')
  })

  test('a file that has changed holds from the next login on; a broken one lets nobody in', async () => {
    await using door = await withUsers('alice:one\n')
    expect(await door.login('alice', 'one')).toBe('welcome')
    await writeFile(door.users, 'alice:two-two\n')
    expect(await door.login('alice', 'one')).not.toBe('welcome')
    expect(await door.login('alice', 'two-two')).toBe('welcome')
    await writeFile(door.users, 'nobody-here\n')
    expect(await door.login('alice', 'two-two')).not.toBe('welcome')
    expect(door.proxy.failed.at(-1)).toMatchObject({ code: 'usage' })
    await chmod(door.users, 0o644)
    expect(await door.login('alice', 'two-two')).not.toBe('welcome')
    expect(door.proxy.failed.at(-1)!.message).toContain('others can read or write it')
  })

  test('a file that is wrong from the start keeps the relay from listening, and none of it is told', async () => {
    await using scratch = await openScratch()
    const users = join(scratch.path, 'users')
    await writeFile(users, 'alice:ok\n:canary-1\n', { mode: 0o600 })
    const listen = `SOCKS-LISTEN:0,bind=127.0.0.1,fork,users-file=${users}`
    await using relay = startRelay({ listen, targets: ['ASKED'] })
    await until('it is rejected', () => relay.relay.state.name === 'rejected')
    expect(relay.relay.state).toMatchObject({
      error: { code: 'usage', what: expect.stringContaining('line 2') },
    })
    expect(JSON.stringify(relay.relay.state)).not.toContain('canary')
  })
})

test.each([
  ['SOCKS-LISTEN:1080,fork', ['TCP:db:80'], 'Write `ASKED` as its one target'],
  ['SOCKS-LISTEN:1080,fork', ['ASKED', 'ASKED'], 'Write `ASKED` as its one target'],
  ['TCP-LISTEN:1080,fork', ['ASKED'], 'Write it as the one target of a `SOCKS-LISTEN:<port>`'],
  ['TCP-LISTEN:1080,fork', ['TCP:db:80', 'ASKED:*:80'], 'and nobody asks here'],
])('%s with %j is refused', (listen, targets, message) => {
  expect(() => bindAll({ listen, targets })).toThrow(message)
})

test('a relay by hand is refused likewise', async () => {
  await using relay = startRelay({
    listen: 'SOCKS-LISTEN:0,bind=127.0.0.1,fork',
    targets: ['TCP:127.0.0.1:80'],
  })
  await until('it is rejected', () => relay.relay.state.name === 'rejected')
  expect(relay.relay.state).toMatchObject({ error: { fix: 'Write `ASKED` as its one target' } })
})

test.each([
  ['ASKED:db', 'it has 1 arguments instead of none or 2. Write `ASKED[:<host>:<port>]`'],
  ['ASKED:db:80,allow-to=db:81', 'it says twice where it may go. Write all of it as `allow-to=`'],
  [
    'ASKED,deny-to=db',
    '`deny-to=db`: `db` is no host and port. Write e.g. `*.example.com:443` or `10.0.0.0/8:*`',
  ],
  ['ASKED,allow-to=db:99999', '`99999` is no port or range of ports'],
  ['SOCKS-LISTEN', 'Write `SOCKS-LISTEN:<port>`'],
])('%s is refused', (text, message) => {
  expect(() => bindAddress(text)).toThrow(message)
})
