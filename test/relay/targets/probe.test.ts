import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { describe, expect, test } from 'vitest'
import type { EgressPolicy, Lookup } from '#relay/endpoint.ts'
import { bindProbed, kindOf } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openScope } from '#relay/scope.ts'
import { type ProbeTerms, probe } from '#relay/targets/probe.ts'
import { openConnectProxy } from '#test/resources/connect-proxy.ts'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { needing } from '#test/resources/needs.ts'
import { type Issued, openPki } from '#test/resources/pki.ts'
import { freePort } from '#test/resources/ports.ts'
import { root, startProgram } from '#test/resources/program.ts'
import { openServer } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'

const anywhere: EgressPolicy = { check() {} }

/** One look; what is said of time is long enough for a busy machine unless a test waits for it to be over. */
function look(
  text: string,
  { egress = anywhere, lookup, signal, ...terms }: Partial<ProbeTerms> & Look = {},
) {
  const endpoint = bindProbed(text)
  const knock = kindOf(endpoint.address.keyword)?.knockable ?? false
  const cx = { egress, signal: signal ?? new AbortController().signal, ...(lookup && { lookup }) }
  return probe(endpoint, { timeoutMs: 5_000, expectByte: false, knock, ...terms }, cx)
}

interface Look {
  egress?: EgressPolicy
  lookup?: Lookup
  signal?: AbortSignal
}

const quiet = () => openServer(socket => socket.resume().once('end', () => socket.end()))
const greeting = () => openServer(socket => socket.resume().write('220 ready\r\n'))

describe('over TCP', () => {
  test('what takes connections is open, with its address and how long that took', async () => {
    await using server = await quiet()
    const seen = await look(`TCP4:localhost:${server.port}`)
    expect(seen).toMatchObject({ verdict: 'open', ip: '127.0.0.1', error: undefined })
    expect(seen.connectMs).toBeGreaterThan(0)
    expect(seen.tookMs).toBeGreaterThanOrEqual(seen.connectMs!)
    expect(seen).toMatchObject({ resolveMs: undefined, tlsMs: undefined, firstByteMs: undefined })
    await until('it is closed again', () => server.sockets.size === 0)
  })

  test('how long a name took is told, and of its addresses the one that was dialled last', async () => {
    await using server = await quiet()
    const lookup: Lookup = async () => [
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
    ]
    const seen = await look(`TCP:two.example:${server.port}`, { lookup })
    expect(seen).toMatchObject({ verdict: 'open', ip: '127.0.0.1' })
    expect(seen.resolveMs).toBeGreaterThan(0)
  })

  test('refused is a port where nobody listens', async () => {
    const seen = await look(`TCP4:127.0.0.1:${await freePort()}`)
    expect(seen).toMatchObject({ verdict: 'refused', ip: '127.0.0.1', error: { code: 'refused' } })
    expect(seen.connectMs).toBeUndefined()
  })

  needing('python3')('timed out is a host that drops who comes', async () => {
    const port = await freePort()
    await using stuck = startProgram(['python3', join(root, 'test/resources/full-backlog.py'), String(port)])
    await stuck.says(/full/)
    const seen = await look(`TCP4:127.0.0.1:${port}`, { timeoutMs: 200 })
    expect(seen).toMatchObject({
      verdict: 'timed-out',
      ip: '127.0.0.1',
      connectMs: undefined,
      error: { code: 'timed-out', why: 'no answer within 200 ms' },
    })
    expect((await look(`TCP4:127.0.0.1:${port},connect-timeout=0.1`)).verdict).toBe('timed-out')
  })

  test('silent is who takes a connection and does not say the byte that was expected', async () => {
    await using server = await quiet()
    const seen = await look(`TCP4:127.0.0.1:${server.port}`, { expectByte: true, timeoutMs: 200 })
    expect(seen).toMatchObject({
      verdict: 'silent',
      firstByteMs: undefined,
      error: { why: 'it is connected, and said nothing within 200 ms' },
    })
    expect(seen.connectMs).toBeGreaterThan(0)
  })

  test('the first byte is timed from when it was open', async () => {
    await using server = await greeting()
    const seen = await look(`TCP4:127.0.0.1:${server.port}`, { expectByte: true })
    expect(seen.verdict).toBe('open')
    expect(seen.firstByteMs).toBeGreaterThanOrEqual(0)
  })

  test('who hangs up instead is not silent, and neither is who resets', async () => {
    await using closing = await openServer(socket => socket.end())
    await using resetting = await openServer(socket => socket.resetAndDestroy())
    for (const { port } of [closing, resetting]) {
      const seen = await look(`TCP4:127.0.0.1:${port}`, { expectByte: true })
      expect(seen).toMatchObject({ verdict: 'failed', error: { code: 'reset' } })
    }
  })

  test('a name without an address is unresolved, and so is one that the resolver says nothing of', async () => {
    const unknown: Lookup = async () => {
      throw Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' })
    }
    expect(await look('TCP:none.example:80', { lookup: unknown })).toMatchObject({
      verdict: 'unresolved',
      ip: undefined,
      error: { code: 'unresolved' },
    })
    const never: Lookup = () => new Promise(() => {})
    expect(await look('TCP:slow.example:80', { lookup: never, timeoutMs: 100 })).toMatchObject({
      verdict: 'unresolved',
      error: { why: 'the resolver did not answer within 100 ms' },
    })
    const other: Lookup = async () => [{ address: '127.0.0.1', family: 4 }]
    expect((await look('TCP6:four.example:80', { lookup: other })).verdict).toBe('unresolved')
  })

  test('what the ceiling does not permit is denied, and not even dialled', async () => {
    await using server = await quiet()
    const denial = new RelayError('denied', { what: 'TCP4', why: 'the ceiling says no' })
    const egress: EgressPolicy = {
      check() {
        throw denial
      },
    }
    const seen = await look(`TCP4:127.0.0.1:${server.port}`, { egress })
    expect(seen).toMatchObject({ verdict: 'denied', ip: undefined, error: denial })
    expect(server.sockets.size).toBe(0)
  })

  test('an address that asks for more tries is tried once', async () => {
    const port = await freePort()
    const seen = await look(`TCP4:127.0.0.1:${port},forever,interval=1000`)
    expect(seen.verdict).toBe('refused')
    expect((await look(`TCP4:127.0.0.1:${port},retry=1000,interval=0.1`)).verdict).toBe('refused')
  })

  test('one that is called off says so, and leaves nothing open', async () => {
    await using server = await quiet()
    await using scope = openScope()
    const looking = look(`TCP4:127.0.0.1:${server.port}`, { expectByte: true, signal: scope.signal })
    await until('it is connected', () => server.sockets.size === 1)
    scope.abort(new RelayError('closed', { what: 'the agent', why: 'it stops' }))
    expect(await looking).toMatchObject({ verdict: 'failed', error: { code: 'closed' } })
    await until('it is closed', () => server.sockets.size === 0)
  })
})

describe('over TLS', () => {
  async function openTlsServer({ cert, key }: Issued, more: object = {}) {
    const server = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key), ...more }, socket =>
      socket.on('error', () => {}).resume(),
    )
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      port: (server.address() as { port: number }).port,
      async [Symbol.asyncDispose]() {
        server.close()
        await once(server, 'close')
      },
    }
  }

  needing('openssl')('open is told with how long the handshake took', async () => {
    using pki = openPki()
    await using server = await openTlsServer(pki.issue({ name: 'localhost', alt: 'DNS:localhost' }))
    const seen = await look(`OPENSSL:localhost:${server.port},pf=ip4,cafile=${pki.ca}`)
    expect(seen).toMatchObject({ verdict: 'open', ip: '127.0.0.1' })
    expect(seen.tlsMs).toBeGreaterThan(0)
    expect(seen.connectMs).toBeGreaterThan(0)
  })

  needing('openssl')('a certificate that does not hold is a TLS error, which says why', async () => {
    using pki = openPki()
    const cases = [
      [{ name: 'other', alt: 'DNS:other.example' }, /is for .*other\.example.*, not for localhost/],
      [{ name: 'localhost', alt: 'DNS:localhost', expired: true }, /has expired/],
      [{ name: 'localhost', alt: 'DNS:localhost', alone: true }, /authority that is not trusted/],
    ] as const
    for (const [issue, why] of cases) {
      await using server = await openTlsServer(pki.issue(issue))
      const seen = await look(`OPENSSL:localhost:${server.port},pf=ip4,cafile=${pki.ca}`)
      expect(seen).toMatchObject({ verdict: 'tls-error', tlsMs: undefined })
      expect(seen.error!.why).toMatch(why)
      expect(seen.connectMs).toBeGreaterThan(0)
    }
  })

  test('a server that does not speak TLS is a TLS error, and one that does not answer the handshake silent', async () => {
    await using plain = await greeting()
    expect(await look(`OPENSSL:127.0.0.1:${plain.port}`)).toMatchObject({
      verdict: 'tls-error',
      error: { why: expect.stringContaining('it does not speak TLS') },
    })
    await using mute = await quiet()
    expect(await look(`OPENSSL:127.0.0.1:${mute.port}`, { timeoutMs: 300 })).toMatchObject({
      verdict: 'silent',
      error: { why: 'it is connected, and did not answer the TLS handshake within 300 ms' },
    })
    await using leaving = await openServer(socket => socket.end())
    expect((await look(`OPENSSL:127.0.0.1:${leaving.port}`)).verdict).toBe('tls-error')
  })

  test('a port where nobody listens is refused, TLS or not', async () => {
    expect((await look(`OPENSSL:127.0.0.1:${await freePort()}`)).verdict).toBe('refused')
  })

  needing('openssl')('a server that wants to know its clients says so before its first byte', async () => {
    using pki = openPki()
    const issued = pki.issue({ name: 'localhost', alt: 'DNS:localhost' })
    const asking = { requestCert: true, rejectUnauthorized: true, ca: readFileSync(pki.ca) }
    await using server = await openTlsServer(issued, asking)
    const address = `OPENSSL:localhost:${server.port},pf=ip4,cafile=${pki.ca}`
    const seen = await look(address, { expectByte: true })
    expect(seen).toMatchObject({ verdict: 'tls-error', error: { code: 'unauthenticated' } })
    expect(seen.tlsMs).toBeGreaterThan(0)
  })
})

describe('through a proxy', () => {
  test('open is the way to the target, and timed out a proxy that does not open it', async () => {
    await using server = await quiet()
    await using proxy = await openConnectProxy()
    const address = `PROXY:127.0.0.1:127.0.0.1:${server.port},proxyport=${proxy.port}`
    const seen = await look(address)
    expect(seen).toMatchObject({ verdict: 'open', ip: '127.0.0.1', connectMs: expect.any(Number) })
    await using mute = await quiet()
    const late = await look(`PROXY:127.0.0.1:10.0.0.9:80,proxyport=${mute.port}`, { timeoutMs: 200 })
    expect(late).toMatchObject({
      verdict: 'timed-out',
      error: { why: 'what was connected did not open the way to the target within 200 ms' },
    })
  })
})

describe('over UDP an empty datagram asks', () => {
  test('who answers is open, who is not there refused, and who says nothing silent', async () => {
    await using mute = await openDatagramSocket()
    expect(await look(`UDP4:127.0.0.1:${mute.port}`, { timeoutMs: 200 })).toMatchObject({
      verdict: 'silent',
      ip: '127.0.0.1',
      error: { why: expect.stringContaining('neither an answer nor a refusal came back within 200 ms') },
    })
    expect(mute.got.map(({ text }) => text)).toEqual([''])
    await using answering = await openDatagramSocket(() => '')
    const seen = await look(`UDP4:127.0.0.1:${answering.port}`)
    expect(seen.verdict).toBe('open')
    expect(seen.firstByteMs).toBeGreaterThan(0)
    expect(await look(`UDP4:127.0.0.1:${await freePort()}`)).toMatchObject({ verdict: 'refused' })
  })
})

describe('what cannot be probed is refused before anything is opened', () => {
  test.each([
    ['TCP4:127.0.0.1:1!!TCP4:127.0.0.1:2', /dual address/],
    ['@edge-2/TCP4:127.0.0.1:1', /--on edge-2/],
    ['TCP4-LISTEN:80', /waits for connections/],
    ['EXEC:/bin/true', /does not show that a server is there/],
    ['OPEN:/etc/passwd', /does not show that a server is there/],
    ['ECHO', /does not show that a server is there/],
    ['UDP4-SENDTO:127.0.0.1:9', /does not show that a server is there/],
    ['TPC4:127.0.0.1:1', /Did you mean `TCP4`/],
    ['TCP4:127.0.0.1:1,conect-timeout=1', /connect-timeout/],
    ['', /./],
    ['TCP4:127.0.0.1\u001b[2J:1', /./],
  ])('%s', (text, message) => {
    expect(() => bindProbed(text)).toThrow(expect.objectContaining({ name: 'RelayError', code: 'usage' }))
    expect(() => bindProbed(text)).toThrow(message)
  })
})
