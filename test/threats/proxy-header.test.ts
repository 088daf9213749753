import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectTls } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import { proxyHeader } from '#relay/proxies/proxy-header.ts'
import { openPki } from '#test/resources/pki.ts'
import { openTestRelay, type TestRelay } from '#test/resources/relays.ts'
import { openClient, openEchoServer, type TestServer } from '#test/resources/servers.ts'
import { failureOf, receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const pki = openPki()
afterAll(() => pki[Symbol.dispose]())
const cert = pki.issue({ name: 'localhost', alt: 'IP:127.0.0.1' })

const from = (ip: string, port = 4321) => ({
  source: { ip, port },
  destination: { ip: ip.includes(':') ? '2001:db8::2' : '192.0.2.2', port: 80 },
})

/** Behind a proxy on the loopback that may say who its clients are. */
async function openDoor(
  options = '',
  limits = {},
): Promise<{ relay: TestRelay; server: TestServer } & AsyncDisposable> {
  const held = new AsyncDisposableStack()
  const server = held.use(await openEchoServer())
  const relay = held.use(
    await openTestRelay({
      listen: `TCP4-LISTEN:0,bind=127.0.0.1,fork,proxy-protocol=127.0.0.1/32${options}`,
      targets: [`TCP4:127.0.0.1:${server.port}`],
      limits,
    }),
  )
  return { relay, server, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** Says these words and ends; what comes back, or `reset`, which may overtake the connection itself. */
async function says(relay: TestRelay, words: Buffer | string, source = '127.0.0.1'): Promise<string> {
  try {
    await using client = await openClient(relay.port, { from: source })
    client.end(words)
    return String(await receive(client))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return 'reset'
    throw error
  }
}

const header = (ip: string, version: 'v1' | 'v2' = 'v2') =>
  Buffer.concat([proxyHeader(version, from(ip)), Buffer.from('hello')])

describe('who may say who its clients are', () => {
  test('a trusted proxy is believed, in both versions, for both kinds of IP', async () => {
    await using door = await openDoor()
    for (const version of ['v1', 'v2'] as const) {
      for (const ip of ['203.0.113.7', '2001:db8::7', '::ffff:198.51.100.9']) {
        expect(await says(door.relay, header(ip, version))).toBe('hello')
      }
    }
    const seen = ['203.0.113.7:4321', '[2001:db8::7]:4321', '198.51.100.9:4321']
    expect(door.relay.opened.map(({ source }) => source)).toEqual([...seen, ...seen])
    expect(door.relay.opened[2]!.sourceIp).toBe('198.51.100.9')
  })

  test('anybody else is dropped, with a header or without, and counted', async () => {
    await using door = await openDoor()
    expect(await says(door.relay, header('203.0.113.7'), '127.0.0.2')).toBe('reset')
    expect(await says(door.relay, 'hello', '127.0.0.2')).toBe('reset')
    expect(door.relay.refused.map(({ cause }) => cause)).toEqual(['untrusted-proxy', 'untrusted-proxy'])
    expect(door.relay.opened).toEqual([])
  })

  test('a listener that expects no header takes it for bytes like any other', async () => {
    await using server = await openEchoServer()
    await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port}`] })
    expect(await says(relay, header('203.0.113.7', 'v1'))).toMatch(/^PROXY TCP4 203\.0\.113\.7/)
    expect(relay.opened[0]!.sourceIp).toBe('127.0.0.1')
  })

  test('the proxy itself is the client when it says so', async () => {
    await using door = await openDoor()
    for (const version of ['v1', 'v2'] as const) {
      expect(await says(door.relay, Buffer.concat([proxyHeader(version, undefined), Buffer.from('x')]))).toBe(
        'x',
      )
    }
    expect(door.relay.opened.map(({ sourceIp }) => sourceIp)).toEqual(['127.0.0.1', '127.0.0.1'])
  })
})

describe('a trusted proxy', () => {
  test.each([
    ['without a header', 'GET / HTTP/1.1\r\n\r\n', 'usage'],
    ['with half of one', 'PROXY TCP4 203.0.113.7', 'reset'],
    ['with two', Buffer.concat([header('203.0.113.7'), header('203.0.113.8')]), undefined],
  ])('%s', async (_, words, code) => {
    await using door = await openDoor()
    const seen = await says(door.relay, words)
    if (code === undefined) {
      // The second one is what the client says, whoever it is meant to impress.
      expect(seen).toContain('\r\n\r\n\0\r\nQUIT\n')
      expect(door.relay.opened.map(({ sourceIp }) => sourceIp)).toEqual(['203.0.113.7'])
      return
    }
    expect(seen).toBe('reset')
    await until('it is counted', () => door.relay.failed.length === 1)
    expect(door.relay.failed[0]!.code).toBe(code)
    expect(door.relay.opened).toEqual([])
  })

  test('that says nothing holds up nobody else, and is not the one client of a listener without `fork`', async () => {
    await using server = await openEchoServer()
    await using relay = await openTestRelay({
      listen: 'TCP4-LISTEN:0,bind=127.0.0.1,proxy-protocol=127.0.0.0/8',
      targets: [`TCP4:127.0.0.1:${server.port}`],
    })
    await using silent = await openClient(relay.port)
    await using other = await openClient(relay.port)
    other.end('not a header')
    expect(await failureOf(other.resume())).toBe('ECONNRESET')
    expect(await says(relay, header('203.0.113.7'))).toBe('hello')
    expect(await failureOf(silent.resume())).toBe('ECONNRESET')
    await until('it has served the one', () => relay.states.includes('done'))
  })
})

describe('the rules see the real client', () => {
  test('lists of the address and of the relay', async () => {
    await using door = await openDoor(',range=203.0.113.0/24,deny=203.0.113.66/32', {
      denyFrom: ['203.0.113.77/32'],
    })
    expect(await says(door.relay, header('203.0.113.7'))).toBe('hello')
    expect(await says(door.relay, header('198.51.100.1'))).toBe('reset')
    expect(await says(door.relay, header('127.0.0.1'))).toBe('reset')
    expect(await says(door.relay, header('203.0.113.66'))).toBe('reset')
    expect(await says(door.relay, header('::ffff:203.0.113.77'))).toBe('reset')
    expect(door.relay.refused).toEqual([
      { cause: 'range', source: '198.51.100.1:4321' },
      { cause: 'range', source: '127.0.0.1:4321' },
      { cause: 'denied-source', source: '203.0.113.66:4321' },
      { cause: 'denied-source', source: '203.0.113.77:4321' },
    ])
  })

  test('rates count each client by itself, not their proxy', async () => {
    await using door = await openDoor('', { sourceRatePerSecond: 1 })
    for (const last of [1, 2, 3, 4]) expect(await says(door.relay, header(`203.0.113.${last}`))).toBe('hello')
    expect(await says(door.relay, header('203.0.113.4'))).toBe('reset')
    expect(door.relay.refused).toEqual([{ cause: 'source-rate', source: '203.0.113.4:4321' }])
  })

  test('a source that is denied while it is connected is cut, and its neighbour on the same proxy is not', async () => {
    await using door = await openDoor()
    const open = async (ip: string) => {
      const client = await openClient(door.relay.port)
      client.write(header(ip))
      await once(client, 'data')
      return client
    }
    await using first = await open('203.0.113.7')
    await using second = await open('203.0.113.8')
    door.relay.relay.setLimits({ denyFrom: ['203.0.113.7/32'] })
    expect(await failureOf(first)).toBe('ECONNRESET')
    second.write('still here')
    expect(String((await once(second, 'data'))[0])).toBe('still here')
  })

  test('before TLS begins, and in TLS', async () => {
    await using server = await openEchoServer()
    await using relay = await openTestRelay({
      listen: `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${cert.both},verify=0,proxy-protocol=127.0.0.1/32,deny=203.0.113.66/32`,
      targets: [`TCP4:127.0.0.1:${server.port}`],
    })
    expect(await says(relay, proxyHeader('v2', from('203.0.113.66')))).toBe('reset')
    await using client = await openClient(relay.port)
    client.write(proxyHeader('v2', from('203.0.113.7')))
    const tls = connectTls({ socket: client, ca: readFileSync(pki.ca), host: '127.0.0.1' })
    tls.write('hello')
    expect(String((await once(tls, 'data'))[0])).toBe('hello')
    tls.destroy()
    expect(relay.opened.map(({ source }) => source)).toEqual(['203.0.113.7:4321'])
    expect(relay.refused).toEqual([{ cause: 'denied-source', source: '203.0.113.66:4321' }])
  })
})
