import { execFileSync, spawn } from 'node:child_process'
import { createServer, type Server } from 'node:net'
import { expect, test } from 'vitest'
import type { Channel, Listener } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { conformance, type Pair, resetFor } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { receive } from '#test/resources/streams.ts'

async function tcpPair(host = '127.0.0.1'): Promise<Pair & { dialled: Channel; accepted: Channel }> {
  await using listener = await listen(`TCP-LISTEN:0,bind=${host}`)
  const dialled = await dial(`TCP:${listener.local}`)
  const { value } = await listener[Symbol.asyncIterator]().next()
  const accepted = value as Channel
  return {
    dialled,
    accepted,
    near: dialled,
    far: accepted,
    async [Symbol.asyncDispose]() {
      await dialled[Symbol.asyncDispose]()
      await accepted[Symbol.asyncDispose]()
    },
  }
}

const listen = (text: string, cx = openContext()): Promise<Listener> => bindAddress(text).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)

const listening = () => ({
  endpoint: bindAddress('TCP4-LISTEN:0,bind=127.0.0.1,fork'),
  dialer: ({ local }: Listener) => bindAddress(`TCP4:${local}`),
})

conformance('a dialled TCP', {
  resets: true,
  open: () => tcpPair(),
  listening,
  unreachable: () => ({ endpoint: bindAddress('TCP4:127.0.0.1:1'), code: 'refused' }),
})

conformance('an accepted TCP', {
  resets: true,
  async open() {
    const pair = await tcpPair('[::1]')
    return { ...pair, near: pair.accepted, far: pair.dialled }
  },
})

test('without `fork` one client is served and the port is free at once', async () => {
  await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1')
  await using first = await dial(`TCP4:${listener.local}`)
  const arrivals = listener[Symbol.asyncIterator]()
  const { value } = await arrivals.next()
  await using served = value as Channel
  expect((await arrivals.next()).done).toBe(true)
  await expect(dial(`TCP4:${listener.local}`)).rejects.toMatchObject({ code: 'refused' })
  first.stream.end('served')
  expect((await receive(served.stream)).toString()).toBe('served')
})

test('what a client says before it is served is not lost', async () => {
  await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1,fork')
  await using client = await dial(`TCP4:${listener.local}`)
  client.stream.end('early words')
  const { value } = await listener[Symbol.asyncIterator]().next()
  await using served = value as Channel
  expect(served.stream.readableLength).toBe(0)
  expect((await receive(served.stream)).toString()).toBe('early words')
})

test('a port in use is refused by name and cause', async () => {
  await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1,fork')
  const { local } = listener
  const port = local.split(':')[1]
  await expect(listen(`TCP4-LISTEN:${port},bind=127.0.0.1`)).rejects.toMatchObject({
    code: 'address-in-use',
    what: `TCP4-LISTEN:${local}`,
  })
})

test('a listener that nobody comes to gives up after its accept-timeout', async () => {
  await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1,accept-timeout=20ms')
  await expect(listener[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'timed-out' })
})

test('more arrivals than the queue holds are reset and told of', async () => {
  const causes: string[] = []
  const turnedAway = (cause: string) => causes.push(cause)
  await using listener = await listen(
    'TCP4-LISTEN:0,bind=127.0.0.1,fork,backlog=1',
    openContext({ turnedAway }),
  )
  await using _first = await dial(`TCP4:${listener.local}`)
  await resetFor(bindAddress(`TCP4:${listener.local}`))
  expect(causes).toEqual(['queue-full'])
})

test('the scope names the host and the port with defaults filled in', () => {
  const scope = (text: string) => bindAddress(text).scope.text
  expect(scope('TCP4-LISTEN:8080,bind=127.0.0.1,fork')).toBe('TCP4-LISTEN:127.0.0.1:8080')
  expect(scope('TCP-LISTEN:8080')).toBe('TCP-LISTEN:0.0.0.0:8080')
  expect(scope('TCP6-L:8080')).toBe('TCP6-LISTEN:[::]:8080')
  expect(scope('TCP:0x7f.1:http')).toBe('TCP:127.0.0.1:80')
  expect(scope('TCP:[::ffff:10.0.0.1]:80')).toBe('TCP:10.0.0.1:80')
})

test('addresses that contradict themselves are refused', () => {
  expect(() => bindAddress('TCP6:127.0.0.1:80')).toThrowError(/different IP versions/)
  expect(() => bindAddress('TCP4:[::1]:80')).toThrowError(/different IP versions/)
  expect(() => bindAddress('TCP4-LISTEN:80,bind=[::1]')).toThrowError(/different IP versions/)
  expect(() => bindAddress('TCP:host:0')).toThrowError(/is no port/)
  expect(() => bindAddress('TCP:host')).toThrowError(/Write `TCP:<host>:<port>`/)
})

test('`bind` and `sourceport` choose where a connection comes from', async () => {
  await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1,fork')
  await using free = await listen('TCP4-LISTEN:0,bind=127.0.0.9')
  const sourceport = free.local.split(':')[1]
  await free[Symbol.asyncDispose]()
  await using _near = await dial(`TCP4:${listener.local},bind=127.0.0.9,sourceport=${sourceport}`)
  const { value } = await listener[Symbol.asyncIterator]().next()
  await using served = value as Channel
  expect(served.peer).toMatchObject({ text: `127.0.0.9:${sourceport}`, ip: '127.0.0.9' })
})

test('socket options reach the kernel', async () => {
  await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.1,keepalive,keepidle=77,fork')
  await using near = await dial(`TCP4:${listener.local},keepidle=33,tos=16`)
  const { value } = await listener[Symbol.asyncIterator]().next()
  await using _served = value as Channel
  const sockets = execFileSync('ss', [
    '-tnoH',
    `( sport = :${listener.local.split(':')[1]} or dport = :${listener.local.split(':')[1]} )`,
  ])
  expect(sockets.toString()).toMatch(/keepalive,1min1[67]/)
  expect(sockets.toString()).toMatch(/keepalive,3[23]sec/)
  expect((near.stream as unknown as { getTypeOfService(): number }).getTypeOfService()).toBe(16)
})

test('a silent target costs its connect-timeout and no more', async () => {
  await using full = await fullBacklog()
  const started = performance.now()
  await expect(dial(`TCP4:${full.local},connect-timeout=100ms`)).rejects.toMatchObject({
    code: 'timed-out',
    what: `TCP4:${full.local}`,
  })
  expect(performance.now() - started).toBeLessThan(2_000)
})

test('a dial is called off in the middle', async () => {
  await using full = await fullBacklog()
  const controller = new AbortController()
  const dialling = dial(`TCP4:${full.local}`, openContext({ signal: controller.signal }))
  const reason = new RelayError('revoked', { what: 'it' })
  setImmediate(() => controller.abort(reason))
  await expect(dialling).rejects.toBe(reason)
})

test('`retry` tries again until somebody listens', async () => {
  await using first = await listen('TCP4-LISTEN:0,bind=127.0.0.1')
  const { local } = first
  await first[Symbol.asyncDispose]()
  const dialling = dial(`TCP4:${local},forever,interval=5ms`)
  await using _listener = await listen(`TCP4-LISTEN:${local.split(':')[1]},bind=127.0.0.1,fork`)
  await using near = await dialling
  expect(near.peer.text).toBe(local)
})

test('a name is tried at each of its addresses, in order', async () => {
  await using listener = await listen('TCP4-LISTEN:0,bind=127.0.0.3,fork')
  const lookup = async () => ['127.0.0.2', '127.0.0.3'].map(address => ({ address, family: 4 }))
  const port = listener.local.split(':')[1]
  await using near = await dial(`TCP:web.test:${port}`, openContext({ lookup }))
  expect(near.peer.ip).toBe('127.0.0.3')
})

test('a resolver that hangs is given up with the connect-timeout', async () => {
  const lookup = () => new Promise<never>(() => {})
  await expect(dial('TCP:slow.test:80,connect-timeout=20ms', openContext({ lookup }))).rejects.toMatchObject({
    code: 'timed-out',
    why: expect.stringContaining('slow.test'),
  })
})

test('a name without an address of that version is unresolved', async () => {
  const lookup = async () => [{ address: '127.0.0.1', family: 4 }]
  await expect(dial('TCP6:four.test:80', openContext({ lookup }))).rejects.toMatchObject({
    code: 'unresolved',
  })
})

const forbidden = [
  '169.254.169.254',
  '[::ffff:169.254.169.254]',
  '[64:ff9b::a9fe:a9fe]',
  '0xa9fea9fe',
  '2852039166',
  '0.0.0.0',
  '0',
  '[::]',
  '[fe80::1]',
  '[fd00:ec2::254]',
]
for (const host of forbidden) {
  test(`${host} is never dialled`, async () => {
    await expect(dial(`TCP:${host}:80,connect-timeout=1`)).rejects.toMatchObject({ code: 'denied' })
  })
}

test('a name that flips between a good and a forbidden address never reaches the forbidden one', async () => {
  // The forbidden address here is one that would answer, so that a slip shows.
  const reached: string[] = []
  const server = createServer(socket => {
    reached.push(socket.localAddress ?? '')
    socket.destroy()
  })
  const port = await started(server, '0.0.0.0')
  const check = (_: unknown, ip?: string) => {
    if (ip === '127.0.0.66') throw new RelayError('denied', { what: 'the target' })
  }
  const good = { address: '127.0.0.1', family: 4 }
  const bad = { address: '127.0.0.66', family: 4 }
  let turn = 0
  let denied = 0
  const lookup = async () => [[good], [bad], [bad, good]][turn++ % 3]!
  for (let round = 0; round < 1_000; round++) {
    try {
      await using _channel = await dial(`TCP:flip.test:${port}`, openContext({ lookup, egress: { check } }))
    } catch (error) {
      expect(error).toMatchObject({ code: 'denied' })
      denied++
    }
  }
  await new Promise(resolve => server.close(resolve))
  expect(turn).toBe(1_000)
  expect(denied).toBe(333)
  expect(reached.length).toBe(667)
  expect(reached).not.toContain('127.0.0.66')
})

async function started(server: Server, host: string): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, host, resolve))
  return (server.address() as { port: number }).port
}

/** A port that answers nobody: its backlog is full, so the kernel drops what asks for a connection. */
async function fullBacklog(): Promise<AsyncDisposable & { local: string }> {
  const program = [
    'import socket,sys',
    's=socket.socket(); s.bind(("127.0.0.1",0)); s.listen(0)',
    'c=[socket.socket() for _ in range(4)]',
    '[x.setblocking(False) or x.connect_ex(s.getsockname()) for x in c]',
    'print("%s:%d" % s.getsockname(), flush=True)',
    'sys.stdin.read()',
  ]
  const holder = spawn('python3', ['-c', program.join('\n')])
  const local = await new Promise<string>(resolve =>
    holder.stdout.once('data', (line: Buffer) => resolve(line.toString().trim())),
  )
  return {
    local,
    async [Symbol.asyncDispose]() {
      const gone = new Promise(resolve => holder.once('close', resolve))
      holder.stdin.end()
      await gone
    },
  }
}
