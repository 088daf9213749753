import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Channel, OpenContext } from '#relay/endpoint.ts'
import { bindAddress, bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openConnectProxy } from '#test/resources/connect-proxy.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { startDanted, startMicrosocks, startSshProxy } from '#test/resources/proxies.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'

const dial = (text: string, cx: OpenContext = openContext()): Promise<Channel> =>
  bindAddress(text).dialer!.dial(cx)

async function refusal(text: string, cx?: OpenContext): Promise<RelayError> {
  try {
    await using _channel = await dial(text, cx)
  } catch (error) {
    if (error instanceof RelayError) return error
    throw error
  }
  throw new Error('it was opened')
}

/** Words to the echo server of a test and back, through an address that ends at it. Some proxies know no half-close. */
async function echoed(address: string, words = 'through the proxy', greeting = ''): Promise<string> {
  await using relay = await openTestRelay({ targets: [address] })
  await using client = await openClient(relay.port)
  client.write(words)
  let said = ''
  for await (const chunk of client) {
    said += chunk
    if (said.length >= greeting.length + words.length) break
  }
  expect(relay.failed).toEqual([])
  return said
}

describe('through proxies of other makes', () => {
  needing('microsocks')('microsocks, SOCKS5', async () => {
    await using proxy = await startMicrosocks()
    await using server = await openEchoServer()
    for (const host of ['127.0.0.1', 'localhost']) {
      const address = `SOCKS5:127.0.0.1:${host}:${server.port},socksport=${proxy.port}`
      expect(await echoed(address)).toBe('through the proxy')
      expect(await echoed(`${address},resolve`)).toBe('through the proxy')
    }
    expect(await refusal(`SOCKS5:127.0.0.1:127.0.0.1:1,socksport=${proxy.port}`)).toMatchObject({
      code: 'refused',
      message: 'SOCKS5:127.0.0.1:127.0.0.1:1: the proxy answered: connection refused (5)',
    })
  })

  needing('microsocks')('microsocks, SOCKS5 with a password that only a file has', async () => {
    await using scratch = await openScratch()
    const file = join(scratch.path, 'password')
    await writeFile(file, 'canary-7f3a\nand a remark\n', { mode: 0o600 })
    await using proxy = await startMicrosocks('-u', 'alice', '-P', 'canary-7f3a')
    await using server = await openEchoServer()
    const address = `SOCKS5:127.0.0.1:127.0.0.1:${server.port},socksport=${proxy.port}`
    expect(await echoed(`${address},socksuser=alice,sockspass-file=${file}`)).toBe('through the proxy')
    expect(await refusal(address)).toMatchObject({
      code: 'unauthenticated',
      fix: 'If it wants a password, write `socksuser=` and `sockspass-file=`',
    })
    const wrong = await refusal(`${address},socksuser=bob,sockspass-file=${file}`)
    expect(wrong).toMatchObject({ code: 'unauthenticated', why: 'the proxy answered: login refused' })
    expect(wrong.message).not.toContain('canary')
    await chmod(file, 0o640)
    expect(await refusal(`${address},socksuser=alice,sockspass-file=${file}`)).toMatchObject({
      code: 'denied',
      why: 'others can read or write it (its mode is 0640)',
      fix: `Run: chmod 600 ${file}`,
    })
  })

  needing('danted', 'root')('danted, SOCKS4 and SOCKS5, and what it blocks', async () => {
    await using proxy = await startDanted('socks block { from: 0.0.0.0/0 to: 127.0.0.7/32 }')
    await using server = await openEchoServer()
    for (const kind of ['SOCKS4', 'SOCKS5']) {
      for (const host of ['127.0.0.1', 'localhost']) {
        const address = `${kind}:127.0.0.1:${host}:${server.port},socksport=${proxy.port},pf=ip4`
        expect(await echoed(address)).toBe('through the proxy')
      }
    }
    expect(await refusal(`SOCKS4:127.0.0.1:127.0.0.7:80,socksport=${proxy.port}`)).toMatchObject({
      code: 'refused',
      why: 'the proxy answered: request rejected or failed (91)',
    })
    expect(await refusal(`SOCKS5:127.0.0.1:127.0.0.7:80,socksport=${proxy.port}`)).toMatchObject({
      code: 'denied',
      why: 'the proxy answered: connection not allowed by ruleset (2)',
    })
  })

  needing(
    'sshd',
    'ssh',
    'root',
  )('ssh -D, SOCKS4, SOCKS4a and SOCKS5', async () => {
    await using proxy = await startSshProxy()
    await using server = await openEchoServer()
    for (const kind of ['SOCKS4', 'SOCKS4A', 'SOCKS5']) {
      for (const host of ['127.0.0.1', 'localhost']) {
        const address = `${kind}:127.0.0.1:${host}:${server.port},socksport=${proxy.port}`
        expect(await echoed(address), address).toBe('through the proxy')
      }
    }
  })
})

describe('through an HTTP proxy', () => {
  test('names and addresses are asked for as they are written', async () => {
    await using proxy = await openConnectProxy()
    await using server = await openEchoServer()
    const port = `proxyport=${proxy.port}`
    expect(await echoed(`PROXY:127.0.0.1:localhost:${server.port},${port}`)).toBe('through the proxy')
    expect(await echoed(`PROXY:127.0.0.1:localhost:${server.port},${port},resolve,http-version=1.1`)).toBe(
      'through the proxy',
    )
    expect(proxy.heads).toEqual([
      `CONNECT localhost:${server.port} HTTP/1.0\r\nHost: localhost:${server.port}`,
      `CONNECT 127.0.0.1:${server.port} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}`,
    ])
  })

  test('the credentials come from a file and are in no message', async () => {
    await using scratch = await openScratch()
    const file = join(scratch.path, 'login')
    await writeFile(file, 'alice:canary-9c1d\n', { mode: 0o600 })
    await using proxy = await openServer(client => {
      client.once('data', () => client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')).resume()
    })
    const address = `PROXY:127.0.0.1:db:80,proxyport=${proxy.port},proxy-authorization-file=${file}`
    const error = await refusal(address)
    expect(error).toMatchObject({
      code: 'unauthenticated',
      why: 'the proxy answered: `HTTP/1.1 407 Proxy Authentication Required`',
    })
    expect(error.message).not.toMatch(/canary|YWxpY2U6/)
    await using open = await openConnectProxy()
    await using server = await openEchoServer()
    await echoed(
      address.replace(String(proxy.port), String(open.port)).replace('db:80', `127.0.0.1:${server.port}`),
    )
    expect(open.heads[0]).toContain('Proxy-Authorization: Basic YWxpY2U6Y2FuYXJ5LTljMWQ=')
  })

  test('bytes that follow its answer at once are kept', async () => {
    const greeting = 'x'.repeat(20_000)
    await using proxy = await openConnectProxy(
      `HTTP/1.1 100 Wait\r\n\r\nHTTP/1.0 200 OK\r\nA: b\r\n\r\n${greeting}`,
    )
    await using server = await openEchoServer()
    const address = `PROXY:127.0.0.1:127.0.0.1:${server.port},proxyport=${proxy.port}`
    expect(await echoed(address, 'and more', greeting)).toBe(`${greeting}and more`)
    await using channel = await dial(address)
    channel.stream.end()
    expect(String(await receive(channel.stream))).toBe(greeting)
  })

  test('an answer with LF alone needs `ignorecr`', async () => {
    await using proxy = await openConnectProxy('HTTP/1.0 200 OK\nA: b\n\nhello')
    await using server = await openEchoServer()
    const address = `PROXY:127.0.0.1:127.0.0.1:${server.port},proxyport=${proxy.port}`
    expect((await refusal(address)).why).toContain('it ends its lines without CR; write `ignorecr`')
    expect(await echoed(`${address},ignorecr`, ' you', 'hello')).toBe('hello you')
  })
})

const asking = (kind: string, port: number, more = '') =>
  `${kind}:127.0.0.1:192.0.2.1:80,${kind === 'PROXY' ? 'proxyport' : 'socksport'}=${port}${more}`

describe.each(['SOCKS4', 'SOCKS4A', 'SOCKS5', 'PROXY'])('%s', kind => {
  test('a proxy that says nothing is given up after the connect-timeout', async () => {
    await using proxy = await openServer(client => client.resume())
    const error = await refusal(asking(kind, proxy.port, ',connect-timeout=60ms'))
    expect(error).toMatchObject({ code: 'timed-out', why: expect.stringContaining('handshake was not over') })
    expect(error.what).toBe(`${kind}:127.0.0.1:192.0.2.1:80`)
  })

  test('a proxy that speaks another language is quoted, and only its first words', async () => {
    await using proxy = await openServer(client => {
      client.write(`SSH-2.0-\x1b[31mOpenSSH\r\n${'x'.repeat(100_000)}`)
      client.resume()
    })
    const { code, message } = await refusal(asking(kind, proxy.port))
    expect(code).toBe('refused')
    expect(message).toContain('SSH-2.0-\\u{1b}[31mOpenSSH')
    expect(message.length).toBeLessThan(400)
  })

  test('a proxy that hangs up in the middle is told apart from one that refuses', async () => {
    await using proxy = await openServer(client => client.end(kind === 'PROXY' ? 'HTTP/1.1 20' : '\x05'))
    const { code } = await refusal(asking(kind, proxy.port))
    expect(code).toBe(kind.startsWith('SOCKS4') ? 'refused' : 'reset')
  })

  test('a proxy that nobody runs is named', async () => {
    expect(await refusal(asking(kind, 1))).toMatchObject({
      code: 'refused',
      what: `${kind}:127.0.0.1:192.0.2.1:80`,
      why: expect.stringContaining('its proxy: TCP:127.0.0.1:1: nothing listens there'),
    })
  })

  test('a dial that is called off in the handshake leaves nothing behind', async () => {
    const stopping = new AbortController()
    const reason = new RelayError('revoked', { what: 'the relay', why: 'the test says so' })
    await using proxy = await openServer(client => client.once('data', () => stopping.abort(reason)).resume())
    expect(await refusal(asking(kind, proxy.port), openContext({ signal: stopping.signal }))).toBe(reason)
  })
})

test('an HTTP answer without an end is refused when it is too long', async () => {
  await using proxy = await openServer(client => {
    client.write(`HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(5_000)}`)
    client.resume()
  })
  expect((await refusal(asking('PROXY', proxy.port))).why).toContain('its HTTP head is too long')
})

describe('addresses', () => {
  test.each([
    [
      'SOCKS4A:proxy:target:80,socksport=1081',
      'SOCKS4A:proxy:target:80',
      ['TCP:proxy:1081', 'TCP:target:80'],
    ],
    ['SOCKS:proxy:10.0.0.1:http', 'SOCKS4:proxy:10.0.0.1:80', ['TCP:proxy:1080', 'TCP:10.0.0.1:80']],
    ['SOCKS5:proxy:1081:target:80', 'SOCKS5:proxy:target:80', ['TCP:proxy:1081', 'TCP:target:80']],
    [
      'SOCKS5:[::1]:[2001:db8::1]:80',
      'SOCKS5:[::1]:[2001:db8::1]:80',
      ['TCP:[::1]:1080', 'TCP:[2001:db8::1]:80'],
    ],
    ['PROXY:proxy:target:443', 'PROXY:proxy:target:443', ['TCP:proxy:8080', 'TCP:target:443']],
  ])('%s has the scope %s', (text, scope, legs) => {
    const bound = bindTarget(text)
    expect(bound.scope.text).toBe(scope)
    expect(bound.legs?.map(leg => leg.scope.text)).toEqual(legs)
  })

  test.each([
    ['SOCKS4:proxy:[2001:db8::1]:80', 'SOCKS4 has no room for [2001:db8::1], an IPv6 address. Use SOCKS5'],
    ['SOCKS5:proxy:target:80,socksuser=alice', '`socksuser` is half of a login. Add `sockspass-file=`'],
    ['SOCKS5:proxy:1081:target:80,socksport=1082', "it names two ports of the proxy's"],
    ['SOCKS5:proxy:target:80,socksuser=a,sockspass=b', 'addresses are listed and logged'],
    ['PROXY:proxy:target:80,proxyauth=a:b', 'and `proxy-authorization-file=` with its name'],
    ['PROXY:proxy:target:80,http-version=2', '`http-version=2`: CONNECT is of HTTP 1'],
    ['PROXY:proxy:target', 'it has 2 arguments instead of 3. Write `PROXY:<proxy>:<host>:<port>`'],
  ])('%s is refused', (text, message) => {
    expect(() => bindTarget(text)).toThrow(message)
  })
})
