import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { clientOptions } from '#identity/tls.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { until } from '#test/resources/until.ts'

const impatient = 'front: {handshake: 300ms, first-call: 300ms}'
/** Between the deadline of the tests and what a loaded machine may add. */
const inTime = 2_500

/** Everything that comes until the far side closes, and how long that took. */
async function untilClosed(socket: Socket): Promise<{ text: string; ms: number }> {
  const began = performance.now()
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  socket.on('error', () => {})
  await closed(socket)
  return { text: Buffer.concat(chunks).toString('latin1'), ms: performance.now() - began }
}

/** Unlike `once`, it does not mind errors. */
function closed(socket: Socket): Promise<void> {
  return new Promise(resolve => (socket.closed ? resolve() : socket.once('close', () => resolve())))
}

async function dial({ port }: TestController): Promise<Socket> {
  const socket = connectTcp(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** A TLS session with the controller, as an operator unless told otherwise. */
async function dialTls(controller: TestController, more: ConnectionOptions = {}): Promise<TLSSocket> {
  const { port, admin } = controller
  const socket = connectTls({ port, host: '127.0.0.1', ...clientOptions(admin.identity), ...more })
  await once(socket, 'secureConnect')
  return socket
}

/** The bytes that a TLS client says first. */
async function clientHello(options: ConnectionOptions = {}): Promise<Buffer> {
  const { createServer } = await import('node:net')
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  client.on('error', () => {})
  const [peer] = (await once(server, 'connection')) as [Socket]
  const [hello] = (await once(peer, 'data')) as [Buffer]
  const closed = Promise.all([once(client, 'close'), once(server, 'close')])
  peer.destroy()
  client.destroy()
  server.close()
  await closed
  return hello
}

function refusals(controller: TestController): string[] {
  return controller.events('front.turned-away').map(({ cause }) => String(cause))
}

describe('TLS', () => {
  test('1.2 and older are refused', async () => {
    await using controller = await openController()
    for (const version of ['TLSv1', 'TLSv1.1', 'TLSv1.2'] as const) {
      const options = { minVersion: version, maxVersion: version, ciphers: 'ALL@SECLEVEL=0' }
      await expect(dialTls(controller, options)).rejects.toThrow(
        /protocol version|unsupported protocol|no protocols/i,
      )
    }
    expect(refusals(controller)).toContain('handshake-failed')
  })

  test('no session can be resumed, not even one of an operator', async () => {
    await using controller = await openController()
    const first = await dialTls(controller)
    const [session] = (await once(first, 'session')) as [Buffer]
    first.destroy()
    await closed(first)

    const second = await dialTls(controller, { session })
    expect(second.isSessionReused()).toBe(false)
    second.destroy()
    await closed(second)
  })

  test('openssl resumes nothing either', async () => {
    await using controller = await openController()
    await using scratch = await openScratch()
    const [kept, next] = [join(scratch.path, 'session'), join(scratch.path, 'next')]
    const tls = [
      '-connect',
      controller.address,
      '-tls1_3',
      '-alpn',
      'h2',
      '-servername',
      'controller.fleetcat',
    ]
    expect(await openssl(kept, tls)).toContain('New, TLSv1.3')
    expect(await readFile(kept, 'utf8')).toContain('BEGIN SSL SESSION')
    const again = await openssl(next, [...tls, '-sess_in', kept])
    expect(again).toContain('New, TLSv1.3')
    expect(again).not.toContain('Reused')
  })
})

/** What `openssl s_client` says until it has a session of the controller, which it keeps in `file`. */
async function openssl(file: string, args: string[]): Promise<string> {
  const child = spawn('openssl', ['s_client', ...args, '-sess_out', file])
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (text += chunk))
  const ended = once(child, 'close')
  // Sessions come after the handshake.
  await until('openssl keeps a session', () => existsSync(file))
  child.stdin.end('Q\n')
  await ended
  return text
}

describe('who says nothing, or says it slowly, is closed', () => {
  test('a socket without a byte', async () => {
    await using controller = await openController({ config: impatient })
    const { ms } = await untilClosed(await dial(controller))
    expect(ms).toBeGreaterThan(200)
    expect(ms).toBeLessThan(inTime)
    expect(refusals(controller)).toEqual(['too-slow'])
  })

  test('a ClientHello that drips', async () => {
    await using controller = await openController({ config: impatient })
    const hello = await clientHello()
    const socket = await dial(controller)
    let sent = 0
    const drip = setInterval(() => socket.write(hello.subarray(sent, ++sent)), 10)
    const { ms } = await untilClosed(socket)
    clearInterval(drip)
    expect(ms).toBeLessThan(inTime)
    expect(sent).toBeLessThan(hello.length)
    expect(refusals(controller)).toEqual(['too-slow'])
  })

  test('a handshake that is begun and not ended', async () => {
    await using controller = await openController({ config: impatient })
    const socket = await dial(controller)
    socket.write(await clientHello({ minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] }))
    const { ms, text } = await untilClosed(socket)
    expect(text.length).toBeGreaterThan(0)
    expect(ms).toBeLessThan(inTime)
    expect(refusals(controller)).toEqual(['too-slow'])
  })

  test('a ClientHello that is longer than any', async () => {
    await using controller = await openController({ config: impatient })
    const socket = await dial(controller)
    socket.write(Buffer.from([0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xfb]))
    socket.write(Buffer.alloc(1024 * 1024))
    await untilClosed(socket)
    expect(refusals(controller)).toEqual(['not-tls'])
  })

  test('a stranger and an operator who finish the handshake and then call nothing', async () => {
    await using controller = await openController({ config: impatient })
    const { ca } = controller.admin.identity
    const stranger = untilClosed(
      await dialTls(controller, { ...clientOptions({ ca }), cert: undefined, key: undefined }),
    )
    const operator = untilClosed(await dialTls(controller))
    for (const { ms } of await Promise.all([stranger, operator])) expect(ms).toBeLessThan(inTime)
    expect(refusals(controller)).toEqual(['no-call', 'no-call'])
  })

  test('but not one that has made its call', async () => {
    await using controller = await openController({ config: impatient })
    const { admin } = controller
    await admin.ask(c => c.getStatus, {})
    const agent = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await agent.settle()
    await until('somebody else was closed for calling nothing', () => {
      if (refusals(controller).includes('no-call')) return true
      if (quiet === undefined) quiet = dialTls(controller).then(untilClosed)
      return false
    })
    await quiet
    await admin.ask(c => c.getStatus, {})
    stream.send({ $case: 'pulse', value: { clock: new Date() } })
    expect((await admin.ask(c => c.getStatus, {})).agentsAttached).toBe(1)
  })
  let quiet: Promise<unknown> | undefined
})

describe('who speaks something else is told what this is', () => {
  test('a web browser', async () => {
    await using controller = await openController()
    const response = await fetch(`http://${controller.address}/`)
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('port of a fleetcat controller')
  })

  test('the answering host of a tunnel', async () => {
    await using controller = await openController()
    const socket = await dial(controller)
    socket.write('FCAT/1 0123456789abcdef\n')
    expect((await untilClosed(socket)).text).toBe('FCAT/1 refused: that is no ticket\n')
    expect(refusals(controller)).toEqual(['unknown-ticket'])
  })

  test('the asking host of a tunnel, in the words of TLS', async () => {
    await using controller = await openController()
    await expect(dialTls(controller, { servername: 'abc.tunnel.fleetcat' })).rejects.toThrow(
      /unrecognized name/i,
    )
    await until('it is noted', () => refusals(controller).includes('unknown-ticket'))
  })

  test.each([
    ['noise', Buffer.from('\0\u0001\u0002noise')],
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n')],
    ['an empty record', Buffer.from([0x16, 3, 1, 0, 0])],
    ['a handshake record of rubbish', Buffer.concat([Buffer.from([0x16, 3, 1, 0, 64]), Buffer.alloc(64, 7)])],
  ])('%s is cut, and nothing breaks', async (_, bytes) => {
    await using controller = await openController({ config: impatient })
    const socket = await dial(controller)
    socket.write(bytes)
    await untilClosed(socket)
    await controller.admin.ask(c => c.getStatus, {})
  })
})

test('crowds of stalled sockets do not keep a host from joining', { timeout: 30_000 }, async () => {
  await using controller = await openController({
    config: 'front: {handshake: 20s, unfinished: 256}',
    logLevel: 'warn',
  })
  const stalled = new Set<Socket>()
  const crowd = 5_000
  let dialled = 0
  await new Promise<void>(resolve => {
    const more = () => {
      if (dialled === crowd) return
      dialled++
      const socket = connectTcp(controller.port, '127.0.0.1')
      stalled.add(socket)
      socket.on('error', () => {})
      socket.once('connect', () => {
        if (stalled.size === crowd) resolve()
        more()
      })
    }
    for (let i = 0; i < 200; i++) more()
  })
  const began = performance.now()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using _stream = await agent.settle()
  const ms = Math.round(performance.now() - began)
  console.log(`with ${crowd} stalled sockets, a host joined and attached in ${ms} ms`)
  expect(ms).toBeLessThan(2_000)
  for (const socket of stalled) socket.destroy()
  await until('all are gone', () => [...stalled].every(socket => socket.closed))
})

async function dismiss(sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) socket.destroy()
  await until('all are gone', () => sockets.size === 0)
}

/** How long a host takes to join and attach, in milliseconds. */
async function joinsIn(controller: TestController): Promise<number> {
  const began = performance.now()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using _stream = await agent.settle()
  return Math.round(performance.now() - began)
}

test('who asks for handshakes without end and finishes none keeps out nobody from elsewhere', async () => {
  await using controller = await openController({
    config: 'front: {handshake: 20s, unfinished: 128}',
    logLevel: 'warn',
  })
  const hello = await clientHello({ minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] })
  const asking = new Set<Socket>()
  const ask = () => {
    const socket = connectTcp({ port: controller.port, host: '127.0.0.1', localAddress: '127.0.0.2' })
    asking.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => asking.delete(socket))
    socket.resume()
    socket.write(hello)
  }
  for (let i = 0; i < 300; i++) ask()
  const more = setInterval(() => {
    for (let i = 0; i < 4; i++) ask()
  }, 20)
  await using stack = new AsyncDisposableStack()
  stack.defer(() => dismiss(asking))
  stack.defer(() => clearInterval(more))
  await until('they are turned away', () => asking.size <= 128)
  const ms = await joinsIn(controller)
  console.log(`while one box asked for 200 handshakes a second, a host of another joined in ${ms} ms`)
  expect(ms).toBeLessThan(2_000)
})

test('strangers past their handshake are few, and a host still joins, also from where they are', async () => {
  await using controller = await openController()
  const { ca } = controller.admin.identity
  const strangers = new Set<TLSSocket>()
  await using stack = new AsyncDisposableStack()
  stack.defer(() => dismiss(strangers))
  const crowd = 400
  for (let i = 0; i < crowd; i += 50) {
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const options = { ...clientOptions({ ca }), cert: undefined, key: undefined }
        const socket = connectTls({ port: controller.port, host: '127.0.0.1', ...options })
        strangers.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => strangers.delete(socket))
        socket.resume()
        await once(socket, 'secureConnect')
      }),
    )
  }
  await until('most were turned away', () => strangers.size <= 256)
  expect(refusals(controller).filter(cause => cause === 'crowded-out')).toHaveLength(crowd - 256)
  expect(await joinsIn(controller)).toBeLessThan(2_000)
})
