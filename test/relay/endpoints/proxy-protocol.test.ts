import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { conformance } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { openPki } from '#test/resources/pki.ts'
import { freePort } from '#test/resources/ports.ts'
import { startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { exchange, openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

const pki = openPki()
afterAll(() => pki[Symbol.dispose]())
const cert = pki.issue({ name: 'localhost', alt: 'IP:127.0.0.1' })

for (const version of ['v1', 'v2']) {
  conformance(`a TCP behind a PROXY header ${version}`, {
    resets: true,
    async open() {
      const listener = await bindAddress(
        'TCP4-LISTEN:0,bind=127.0.0.1,proxy-protocol=127.0.0.1/32',
      ).acceptor!.listen(openContext())
      const target = bindAddress(`TCP4:${listener.local},proxy-protocol=${version}`)
      const [near, { value }] = await Promise.all([
        target.dialer!.dial(openContext()),
        listener[Symbol.asyncIterator]().next(),
      ])
      const far = value as Channel
      return {
        near: far,
        far: near,
        async [Symbol.asyncDispose]() {
          await near[Symbol.asyncDispose]()
          await far[Symbol.asyncDispose]()
          await listener[Symbol.asyncDispose]()
        },
      }
    },
  })
}

describe('a relay that tells its target who the client is', () => {
  test.each(['v1', 'v2'])('another relay, %s, over TCP and over TLS', async version => {
    await using server = await openEchoServer()
    const targets = [`TCP4:127.0.0.1:${server.port}`]
    const trusting = 'bind=127.0.0.1,fork,proxy-protocol=127.0.0.0/8'
    await using plain = await openTestRelay({ listen: `TCP4-LISTEN:0,${trusting}`, targets })
    await using tls = await openTestRelay({
      listen: `OPENSSL-LISTEN:0,${trusting},cert=${cert.both},verify=0`,
      targets,
    })
    for (const [inner, target] of [
      [plain, `TCP4:127.0.0.1:${plain.port}`],
      [tls, `OPENSSL:127.0.0.1:${tls.port},cafile=${pki.ca}`],
    ] as const) {
      await using outer = await openTestRelay({ targets: [`${target},proxy-protocol=${version}`] })
      await using client = await openClient(outer.port, { from: '127.0.0.77' })
      client.end('hello')
      expect(String(await receive(client))).toBe('hello')
      expect(inner.opened.map(({ source }) => source)).toEqual(outer.opened.map(({ source }) => source))
      expect(inner.opened[0]!.sourceIp).toBe('127.0.0.77')
    }
  })

  test('the header has both ends, and comes before anything else', async () => {
    await using server = await openServer(socket => socket.pipe(socket))
    await using relay = await openTestRelay({ targets: [`TCP4:127.0.0.1:${server.port},send-proxy=v1`] })
    const [line, words] = (await exchange(relay.port, 'hello')).split('\r\n')
    expect(line).toMatch(new RegExp(`^PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 \\d+ ${relay.port}$`))
    expect(words).toBe('hello')
  })

  test('a server on a Unix socket learns of the client too', async () => {
    await using scratch = await openScratch()
    const path = join(scratch.path, 'out')
    await using server = await openTestRelay({ listen: `UNIX-LISTEN:${path},fork`, targets: ['ECHO'] })
    await using relay = await openTestRelay({ targets: [`UNIX-CONNECT:${path},proxy-protocol=v1`] })
    expect(await exchange(relay.port, 'hello')).toMatch(/^PROXY TCP4 127\.0\.0\.1 .*\r\nhello$/s)
    expect(server.opened).toHaveLength(1)
  })

  test('a client without an address is an unknown one', async () => {
    await using server = await openServer(socket => socket.pipe(socket))
    await using scratch = await openScratch()
    await using relay = await openTestRelay({
      listen: `UNIX-LISTEN:${join(scratch.path, 'in')},fork`,
      targets: [`TCP4:127.0.0.1:${server.port},proxy-protocol=v1`],
    })
    expect(relay.states).toContain('ready')
    await using channel = await bindAddress(`UNIX-CONNECT:${join(scratch.path, 'in')}`).dialer!.dial(
      openContext(),
    )
    channel.stream.end('hello')
    expect(String(await receive(channel.stream))).toBe('PROXY UNKNOWN\r\nhello')
  })
})

/** What a server says of who asked it, over HTTP through a port. */
async function askedBy(port: number, from: string): Promise<string> {
  await using client = await openClient(port, { from })
  client.end('GET / HTTP/1.0\r\n\r\n')
  return /\r\n\r\n(.*)$/s.exec(String(await receive(client)))?.[1] ?? ''
}

needing('haproxy')('haproxy believes our header, and we believe the one of haproxy', async () => {
  await using scratch = await openScratch()
  await using server = await openEchoServer()
  await using behind = await openTestRelay({
    listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork,proxy-protocol=127.0.0.1/32',
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  const [telling, v1, v2, summed] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const file = join(scratch.path, 'haproxy.cfg')
  const passing = (name: string, port: number, how: string) =>
    `listen ${name}\n  mode tcp\n  bind 127.0.0.1:${port}\n  server us 127.0.0.1:${behind.port} ${how}\n`
  writeFileSync(
    file,
    `defaults
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend telling
  mode http
  bind 127.0.0.1:${telling} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src]"
${passing('one', v1, 'send-proxy')}${passing('two', v2, 'send-proxy-v2')}${passing('three', summed, 'send-proxy-v2 proxy-v2-options crc32c,unique-id')}`,
  )
  await using haproxy = startProgram(['haproxy', '-db', '-f', file])
  await until('haproxy answers', async () => {
    await using _client = await openClient(summed)
    return haproxy.pid
  })

  for (const version of ['v1', 'v2']) {
    await using relay = await openTestRelay({
      targets: [`TCP4:127.0.0.1:${telling},proxy-protocol=${version}`],
    })
    expect(await askedBy(relay.port, '127.0.0.77')).toBe('127.0.0.77')
  }
  for (const port of [v1, v2, summed]) {
    await using client = await openClient(port, { from: '127.0.0.78' })
    client.end('hello')
    expect(String(await receive(client))).toBe('hello')
    expect(behind.opened.at(-1)!.sourceIp).toBe('127.0.0.78')
  }
  expect(behind.refused).toEqual([])
})

needing('nginx')('nginx believes our header, and we believe the one of nginx', async () => {
  await using scratch = await openScratch()
  await using server = await openEchoServer()
  await using behind = await openTestRelay({
    listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork,proxy-protocol=127.0.0.1/32',
    targets: [`TCP4:127.0.0.1:${server.port}`],
  })
  const [telling, passing] = [await freePort(), await freePort()]
  const file = join(scratch.path, 'nginx.conf')
  const modules = '/usr/lib/nginx/modules/ngx_stream_module.so'
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map(kind => `${kind}_temp_path ${join(scratch.path, kind)};`)
    .join('\n')
  writeFileSync(
    file,
    `${existsSync(modules) ? `load_module ${modules};` : ''}
daemon off;
master_process off;
pid ${join(scratch.path, 'pid')};
error_log stderr;
events {}
http {
  access_log off;
  ${temporary}
  server {
    listen 127.0.0.1:${telling} proxy_protocol;
    return 200 "$proxy_protocol_addr";
  }
}
stream { server { listen 127.0.0.1:${passing}; proxy_pass 127.0.0.1:${behind.port}; proxy_protocol on; } }
`,
  )
  await using _nginx = startProgram(['nginx', '-p', scratch.path, '-c', file])
  for (const version of ['v1', 'v2']) {
    await using relay = await openTestRelay({
      targets: [`TCP4:127.0.0.1:${telling},proxy-protocol=${version}`],
    })
    await until('nginx answers', async () => (await askedBy(relay.port, '127.0.0.77')) === '127.0.0.77')
  }
  await using client = await openClient(passing, { from: '127.0.0.78' })
  client.write('hello')
  expect(String((await once(client, 'data'))[0])).toBe('hello')
  expect(behind.opened.at(-1)!.sourceIp).toBe('127.0.0.78')
})

test.each([
  ['TCP-LISTEN:80,proxy-protocol=0.0.0.0/0', 'anybody could then say to be anybody'],
  ['TCP-LISTEN:80,proxy-protocol=v2', 'it is neither an IP address nor a CIDR'],
  ['TCP:db:80,proxy-protocol=10.0.0.0/8', 'it is no version of the PROXY protocol'],
  ['TCP:db:80,send-proxy', 'it needs a value'],
])('%s is refused', (text, message) => {
  expect(() => bindAddress(text)).toThrow(message)
})
