import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { createServer } from 'node:tls'
import { afterAll, expect, test } from 'vitest'
import type { Channel, Listener, OpenContext, Peer } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openPki } from '#test/resources/pki.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { ended, failureOf, receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const pki = openPki()
const foreign = openPki()
afterAll(() => {
  pki[Symbol.dispose]()
  foreign[Symbol.dispose]()
})
const server = pki.issue({ name: 'localhost', alt: 'DNS:localhost,DNS:*.wild.test,IP:127.0.0.1' })
const web = pki.issue({ name: 'web', alt: 'DNS:web.test,URI:spiffe://prod/agent/web-1', usage: 'clientAuth' })
const serverOnly = pki.issue({ name: 'server-only', usage: 'serverAuth' })
const expired = pki.issue({ name: 'late', expired: true })
const stranger = foreign.issue({ name: 'stranger', alt: 'IP:127.0.0.1' })
const alone = pki.issue({ name: 'alone', alt: 'IP:127.0.0.1', alone: true })

const listen = (options: string, cx = openContext()): Promise<Listener> =>
  bindAddress(`OPENSSL-LISTEN:0,bind=127.0.0.1,${options}`).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)
const door = `fork,cert=${server.both},verify=0`
const guarded = `fork,cert=${server.both},cafile=${pki.ca}`
const trusting = `cafile=${pki.ca}`

interface Failures {
  readonly cx: OpenContext
  readonly failed: { readonly error: RelayError; readonly peer: Peer }[]
}

function failures(): Failures {
  const failed: Failures['failed'] = []
  return { failed, cx: openContext({ failed: (error, peer) => failed.push({ error, peer }) }) }
}

/** What a client sees of the handshake, whether it fails in it or, as with TLS 1.3, right after. */
async function outcome(text: string): Promise<string> {
  try {
    await using channel = await dial(text)
    await ended(channel.stream)
    return 'ended'
  } catch (thrown) {
    const { code, message } = thrown as { code: string; message: string }
    return `${code} ${message}`
  }
}

test('a server is known by the names of its certificate', async () => {
  await using listener = await listen(door)
  const lookup = async () => [{ address: '127.0.0.1', family: 4 }]
  const port = listener.local.split(':')[1]
  for (const name of ['localhost', 'x.wild.test']) {
    await using channel = await dial(`OPENSSL:${name}:${port},${trusting}`, openContext({ lookup }))
    expect(channel.peer).toMatchObject({ text: listener.local, ip: '127.0.0.1', identity: 'localhost' })
  }
  await using _other = await dial(
    `OPENSSL:other.test:${port},${trusting},cn=a.wild.test`,
    openContext({ lookup }),
  )
  await expect(dial(`OPENSSL:other.test:${port},${trusting}`, openContext({ lookup }))).rejects.toMatchObject(
    {
      code: 'unauthenticated',
      what: `OPENSSL:other.test:${port}`,
      why: 'its certificate is for localhost, *.wild.test, 127.0.0.1, not for other.test',
      fix: expect.stringContaining('commonname='),
    },
  )
})

for (const [name, cert, why] of [
  ['of an authority that is not trusted', stranger, /an authority that is not trusted here/],
  ['that signed itself', alone, /an authority that is not trusted here/],
  ['for another host', pki.issue({ name: 'elsewhere' }), /is for elsewhere, not for 127.0.0.1/],
  ['that is for clients only', web, /not meant for this side/],
] as const) {
  test(`a server with a certificate ${name} is refused`, async () => {
    await using listener = await listen(`fork,cert=${cert.both},verify=0`)
    const seen = await outcome(`OPENSSL:${listener.local},${trusting}`)
    expect(seen).toMatch(/^unauthenticated OPENSSL:127/)
    expect(seen).toMatch(why)
  })
}

test('`cafile` with the certificate itself trusts a server that signed itself', async () => {
  await using listener = await listen(`fork,cert=${alone.both},verify=0`)
  await using channel = await dial(`OPENSSL:${listener.local},cafile=${alone.cert}`)
  expect(channel.peer.identity).toBe('127.0.0.1')
})

test('a pinned certificate is enough, and another one is not', async () => {
  await using listener = await listen(`fork,cert=${alone.both},verify=0`)
  await using channel = await dial(
    `OPENSSL:${listener.local},verify=0,fingerprint=${server.sha256};${alone.sha256}`,
  )
  expect(channel.peer.identity).toBe('127.0.0.1')
  await expect(dial(`OPENSSL:${listener.local},verify=0,fingerprint=${server.sha256}`)).rejects.toMatchObject(
    {
      code: 'unauthenticated',
      why: expect.stringContaining('another one than the pinned'),
      fix: expect.stringContaining(alone.sha256.replaceAll(':', '').toLowerCase()),
    },
  )
  await expect(
    dial(`OPENSSL:${listener.local},${trusting},fingerprint=${alone.sha256}`),
  ).rejects.toMatchObject({
    why: expect.stringContaining('not trusted here'),
  })
})

test('an identity takes the place of the host name', async () => {
  const cert = pki.issue({ name: 'orders', alt: 'URI:spiffe://prod/agent/orders-1' })
  await using listener = await listen(`fork,cert=${cert.both},verify=0`)
  const target = `OPENSSL:${listener.local},${trusting}`
  await using channel = await dial(`${target},identity=spiffe://prod/agent/orders-1`)
  expect(channel.peer.identity).toBe('spiffe://prod/agent/orders-1')
  for (const wrong of ['spiffe://prod/agent/orders-10', 'spiffe://prod/agent/orders', 'orders']) {
    await expect(dial(`${target},identity=${wrong}`)).rejects.toMatchObject({ code: 'unauthenticated' })
  }
})

test('a client with a certificate is let in under its name, and a relay lists it', async () => {
  await using echo = await openEchoServer()
  await using relay = await openTestRelay({
    listen: `OPENSSL-LISTEN:0,bind=127.0.0.1,${guarded}`,
    targets: [`TCP4:127.0.0.1:${echo.port}`],
  })
  await using near = await dial(`OPENSSL:127.0.0.1:${relay.port},${trusting},cert=${web.cert},key=${web.key}`)
  near.stream.end('who am I')
  expect(String(await receive(near.stream))).toBe('who am I')
  expect(relay.opened).toMatchObject([{ tlsIdentity: 'spiffe://prod/agent/web-1', sourceIp: '127.0.0.1' }])
})

for (const version of ['TLS1.2', 'TLS1.3']) {
  for (const [name, options, atServer, atClient] of [
    [
      'without a certificate',
      '',
      /it presented no client certificate.*`verify=0`/,
      /unauthenticated|refused/,
    ],
    ['of a foreign authority', `,cert=${stranger.both}`, /not trusted here/, /ended|reset|ECONNRESET/],
    [
      'whose certificate has no use for clients',
      `,cert=${serverOnly.both}`,
      /not meant for this side/,
      /ended|reset|ECONNRESET/,
    ],
  ] as const) {
    test(`a client ${name} is turned away, over ${version}`, async () => {
      const { cx, failed } = failures()
      await using listener = await listen(`${guarded},max-version=${version}`, cx)
      const seen = await outcome(`OPENSSL:${listener.local},${trusting}${options}`)
      expect(seen).toMatch(/^ERR_SSL/.test(seen) ? /CERTIFICATE_REQUIRED/ : atClient)
      await until('the server has told', () => failed.length === 1)
      expect(failed[0]?.error.message).toMatch(atServer)
      expect(failed[0]?.error).toMatchObject({
        code: 'unauthenticated',
        what: `handshake with ${failed[0]?.peer.text}`,
      })
    })
  }
}

test("a client's own certificate that has expired is not even sent", async () => {
  await using listener = await listen(guarded)
  await expect(dial(`OPENSSL:${listener.local},${trusting},cert=${expired.both}`)).rejects.toMatchObject({
    why: expect.stringContaining('it has expired'),
  })
})

test('of known clients only those that are named get in', async () => {
  const { cx, failed } = failures()
  await using byName = await listen(`${guarded},commonname=web.test`, cx)
  await using byIdentity = await listen(`${guarded},identity=spiffe://prod/agent/web-1`, cx)
  await using byPin = await listen(`fork,cert=${server.both},verify=0,fingerprint=${web.sha256}`, cx)
  for (const { local } of [byName, byIdentity, byPin]) {
    const other = `OPENSSL:${local},${trusting},cert=${server.both}`
    await using _near = await dial(`OPENSSL:${local},${trusting},cert=${web.both}`)
    const before = failed.length
    expect(await outcome(other)).toMatch(/ECONNRESET|reset/)
    await until('the server has told', () => failed.length > before)
    expect(failed.at(-1)?.error.code).toBe('unauthenticated')
  }
  const anonymous = await outcome(`OPENSSL:${byPin.local},${trusting}`)
  expect(anonymous).toMatch(/ECONNRESET|reset/)
  await until('the server has told', () => failed.length === 4)
  expect(failed.at(-1)?.error.message).toMatch(/it presented no certificate/)
})

for (const [name, listening, dialling, atClient, atServer] of [
  [
    'version',
    'min-version=TLS1.3',
    'max-version=TLS1.2',
    /no TLS version in common/,
    /no TLS version in common/,
  ],
  [
    'cipher',
    'max-version=TLS1.2,cipher=ECDHE-ECDSA-AES128-GCM-SHA256',
    'cipher=ECDHE-ECDSA-AES256-GCM-SHA384',
    /no cipher in common/,
    /no cipher in common/,
  ],
  [
    'application protocol',
    'alpn=h2',
    'alpn=http/1.1;spdy',
    /no application protocol in common/,
    /no application protocol in common/,
  ],
] as const) {
  test(`sides without a ${name} in common both say so`, async () => {
    const { cx, failed } = failures()
    await using listener = await listen(`${door},${listening}`, cx)
    const seen = await outcome(`OPENSSL:${listener.local},${trusting},${dialling}`)
    expect(seen).toMatch(/^refused OPENSSL:127/)
    expect(seen).toMatch(atClient)
    await until('the server has told', () => failed.length === 1)
    expect(failed[0]?.error.message).toMatch(atServer)
    expect(failed[0]?.error.code).toBe('refused')
  })
}

test('what does not speak TLS is called that, on both sides', async () => {
  await using plain = await openServer(socket => socket.end('220 mail.test ESMTP\r\n'))
  expect(await outcome(`OPENSSL:127.0.0.1:${plain.port}`)).toMatch(/^refused .* it does not speak TLS/)
  const { cx, failed } = failures()
  await using listener = await listen(door, cx)
  await using client = await openClient(Number(listener.local.split(':')[1]))
  client.end('GET / HTTP/1.1\r\n\r\n')
  await ended(client).catch(() => {})
  await until('the server has told', () => failed.length === 1)
  expect(failed[0]?.error.message).toMatch(/it does not speak TLS/)
})

test('who leaves in the middle of the handshake is called that', async () => {
  await using plain = await openServer(socket => socket.destroy())
  expect(await outcome(`OPENSSL:127.0.0.1:${plain.port}`)).toMatch(
    /^reset .*closed the connection in the middle of the TLS handshake/,
  )
})

test('a server that says nothing costs the connect-timeout and no more', async () => {
  await using silent = await openServer(() => {})
  const target = `OPENSSL:127.0.0.1:${silent.port}`
  await expect(dial(`${target},connect-timeout=50ms`)).rejects.toMatchObject({
    code: 'timed-out',
    what: target,
    why: expect.stringMatching(/^the TLS handshake was not over within \d+ ms$/),
  })
})

test('a dial is called off in the middle of its handshake', async () => {
  const controller = new AbortController()
  const reason = new Error('enough')
  await using silent = await openServer(() => controller.abort(reason))
  const dialling = dial(`OPENSSL:127.0.0.1:${silent.port}`, openContext({ signal: controller.signal }))
  await expect(dialling).rejects.toMatchObject({ cause: reason })
})

test('who never begins the handshake is reset when its time is over', async () => {
  const { cx, failed } = failures()
  await using listener = await listen(`${door},accept-timeout=150ms`, cx)
  await using _first = await dial(`OPENSSL:${listener.local},${trusting}`)
  await using silent = await openClient(Number(listener.local.split(':')[1]))
  expect(await failureOf(silent)).toBe('ECONNRESET')
  await until('the server has told', () => failed.length === 1)
  expect(failed[0]?.error.code).toBe('timed-out')
})

test('a listener gives up after its accept-timeout when nobody got through', async () => {
  await using listener = await listen(`${door},accept-timeout=30ms`)
  await using silent = await openClient(Number(listener.local.split(':')[1]))
  await expect(listener[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: 'timed-out',
    why: 'nobody has connected within 30 ms',
  })
  expect(await failureOf(silent)).toBe('ECONNRESET')
})

test('without `fork` it waits for one client that gets through, however many do not', async () => {
  await using listener = await listen(`cert=${server.both},verify=0,accept-timeout=10`)
  const port = Number(listener.local.split(':')[1])
  await using silent = await openClient(port)
  await using noise = await openClient(port)
  noise.end('noise')
  await ended(noise).catch(() => {})
  const arrivals = listener[Symbol.asyncIterator]()
  await using _near = await dial(`OPENSSL:${listener.local},${trusting}`)
  await using far = (await arrivals.next()).value as Channel
  expect(far.peer.ip).toBe('127.0.0.1')
  expect(await failureOf(silent)).toBe('ECONNRESET')
  expect((await arrivals.next()).done).toBe(true)
  await expect(dial(`OPENSSL:${listener.local},${trusting}`)).rejects.toMatchObject({ code: 'refused' })
})

test('crowds that never finish a handshake neither keep others out nor take their room', async () => {
  await using echo = await openEchoServer()
  await using relay = await openTestRelay({
    listen: `OPENSSL-LISTEN:0,bind=127.0.0.1,${door}`,
    targets: [`TCP4:127.0.0.1:${echo.port}`],
    limits: { maxConnections: 2 },
  })
  const crowd: Socket[] = []
  // The kernel's own queue is shorter than the crowd, and keeps those whom it drops waiting for seconds.
  while (crowd.length < 1_100) {
    const some = Array.from({ length: 100 }, () => {
      const socket = connect({ port: relay.port, host: '127.0.0.1', localAddress: '127.0.0.66' })
      return socket.on('error', () => {})
    })
    await Promise.all(some.map(socket => once(socket, 'connect')))
    crowd.push(...some)
  }
  await until('some were crowded out', () => relay.failed.some(({ code }) => code === 'exhausted'))
  for (let turn = 0; turn < 5; turn++) {
    await using near = await dial(`OPENSSL:127.0.0.1:${relay.port},${trusting},connect-timeout=5`)
    near.stream.end('let me in')
    expect(String(await receive(near.stream))).toBe('let me in')
  }
  for (const socket of crowd) socket.destroy()
  await until('the crowd has gone', () => crowd.every(({ closed }) => closed))
  expect(relay.refused).toEqual([])
})

test('sources that are not welcome, and too many at a time, do not get as far as a handshake', async () => {
  await using echo = await openEchoServer()
  await using relay = await openTestRelay({
    listen: `OPENSSL-LISTEN:0,bind=127.0.0.1,${door},range=127.0.0.1/32`,
    targets: [`TCP4:127.0.0.1:${echo.port}`],
    limits: { maxConnections: 1 },
  })
  const target = `OPENSSL:127.0.0.1:${relay.port},${trusting}`
  expect(await outcome(`${target},bind=127.0.0.9`)).toMatch(/^reset/)
  await using near = await dial(target)
  near.stream.write('first')
  await new Promise(resolve => near.stream.once('data', resolve))
  expect(await outcome(target)).toMatch(/^reset/)
  expect(relay.refused.map(({ cause }) => cause)).toEqual(['range', 'max-connections'])
  expect(relay.failed).toEqual([])
})

test("the host's name is asked for, or what the address says, or nothing", async () => {
  const asked: (string | false | null)[] = []
  const tls = createServer({ cert: readFileSync(server.cert), key: readFileSync(server.key) }, socket => {
    asked.push((socket as unknown as { servername: string | false | null }).servername)
    socket.resume().end()
  })
  await new Promise<void>(resolve => tls.listen(0, '127.0.0.1', resolve))
  const { port } = tls.address() as { port: number }
  const lookup = async () => [{ address: '127.0.0.1', family: 4 }]
  for (const rest of [
    `localhost:${port}`,
    `localhost:${port},cn=a.wild.test`,
    `localhost:${port},snihost=mock.test`,
    `localhost:${port},nosni`,
    `127.0.0.1:${port}`,
  ]) {
    await using channel = await dial(`OPENSSL:${rest},${trusting}`, openContext({ lookup }))
    await ended(channel.stream)
  }
  await new Promise(resolve => tls.close(resolve))
  expect(asked).toEqual(['localhost', 'a.wild.test', 'mock.test', false, false])
})
