import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress, bindAll, bindTarget } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import type { RelayError } from '#relay/errors.ts'
import { noPort } from '#relay/serial/no-port.ts'
import type { ModemLines } from '#relay/serial/port.ts'
import { rfc2217Client } from '#relay/serial/rfc2217/client.ts'
import { comPortBytes } from '#relay/serial/rfc2217/codec.ts'
import { rfc2217Server } from '#relay/serial/rfc2217/server.ts'
import { conformance, type Pair } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import type { MemoryPort, MemoryPortOptions } from '#test/resources/serial/memory-port.ts'
import { openServedPort, type ServedPort } from '#test/resources/serial/served-port.ts'
import { type TelnetPeer, telnetPeer } from '#test/resources/serial/telnet-peer.ts'
import { openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

/** Both ends of a TCP connection, with a client of RFC 2217 at the one and a server at the other. */
async function openPair(): Promise<Pair> {
  const held = new AsyncDisposableStack()
  const listener = held.use(await bindAddress('TCP4-LISTEN:0,bind=127.0.0.1').acceptor!.listen(openContext()))
  const port = listener.local.split(':')[1]
  const [inner, { value }] = await Promise.all([
    bindAddress(`TCP4:127.0.0.1:${port}`).dialer!.dial(openContext()),
    listener[Symbol.asyncIterator]().next(),
  ])
  const far = held.use(rfc2217Server(value as Channel))
  const [line] = memoryPair({ text: 'memory:line' }, { text: 'memory:far' })
  held.use(line)
  far.joined?.({ ...line, serial: noPort('/dev/none') }, () => true)
  const near = held.use(await rfc2217Client(inner, { what: 'a client', withinMs: 5_000 }, openContext()))
  return { near, far, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

conformance('RFC 2217', {
  resets: true,
  open: openPair,
  unreachable: () => ({ endpoint: bindAddress('RFC2217:127.0.0.1:1'), code: 'refused' }),
})

interface Reached extends AsyncDisposable {
  readonly channel: Channel
  readonly port: MemoryPort
}

async function reach(options?: MemoryPortOptions, written = ''): Promise<Reached> {
  const held = new AsyncDisposableStack()
  const served = held.use(await openServedPort(options))
  const channel = held.use(await dial(served, written))
  return { channel, port: served.ports[0]!, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const dial = ({ relay }: Pick<ServedPort, 'relay'>, written = '') =>
  bindTarget(`RFC2217:127.0.0.1:${relay.port}${written}`).dialer!.dial(openContext())

const refusal = (dialled: Promise<Channel>): Promise<RelayError> =>
  dialled.then(
    () => Promise.reject(new Error('it was opened')),
    (error: RelayError) => error,
  )

describe('a port behind a server', () => {
  test('is set as the address says, and tells how it is', async () => {
    await using reached = await reach(
      undefined,
      ',baud=115200,data=7,parity=even,stop=2,flow=rtscts,dtr=0,rts=1',
    )
    const line = { baud: 115_200, data: 7, parity: 'even', stop: 2, flow: 'rtscts' }
    expect(reached.channel.serial!.settings).toEqual(line)
    expect(reached.port.port.settings).toEqual(line)
    expect(reached.port.asked.slice(-2)).toEqual(['dtr=0', 'rts=1'])
  })

  test('is left as it is where the address says nothing', async () => {
    await using reached = await reach()
    expect(reached.channel.serial!.settings).toEqual(reached.port.port.settings)
    expect(reached.port.asked).toEqual([])
  })

  test('that does not keep what the address says is not opened', async () => {
    await using served = await openServedPort({ refuses: ({ parity }) => parity === 'mark' })
    const error = await refusal(dial(served, ',parity=mark'))
    expect(error).toMatchObject({ code: 'unsupported', why: expect.stringContaining('`parity=mark`') })
  })

  test('that has no control lines is not opened when the address lowers one', async () => {
    await using served = await openServedPort({ wireless: true })
    expect(await refusal(dial(served, ',dtr=0'))).toMatchObject({
      code: 'unsupported',
      why: expect.stringContaining('`dtr=0`'),
    })
  })

  test('does all that a port of this host does', async () => {
    await using reached = await reach()
    const { serial } = reached.channel
    const { asked, port } = reached.port
    expect(await serial!.set({ baud: 0x00ff_ffff, parity: 'odd' })).toMatchObject({
      baud: 0x00ff_ffff,
      parity: 'odd',
    })
    expect(port.settings.baud).toBe(0x00ff_ffff)
    expect(await serial!.setControl({ dtr: false, rts: false })).toBe(true)
    expect(await serial!.control?.()).toEqual({ dtr: false, rts: false })
    expect(await serial!.setBreak(true)).toBe(true)
    expect(await serial!.setBreak(false)).toBe(true)
    await serial!.purge('both')
    expect(asked.slice(2)).toEqual(['dtr=0', 'rts=0', 'break on', 'break off', 'purge both'])
  })

  test('is asked only for what differs', async () => {
    await using reached = await reach()
    await reached.channel.serial!.set({ baud: 9_600, data: 7 })
    expect(reached.port.asked).toEqual(['data=7'])
  })

  test('refuses what no line can be before its server is asked', async () => {
    await using reached = await reach()
    await expect(reached.channel.serial!.set({ stop: 1.5 })).rejects.toMatchObject({ code: 'usage' })
    expect(reached.port.asked).toEqual([])
  })

  test('tells of its modem lines', async () => {
    await using reached = await reach()
    const { serial } = reached.channel
    const none = { cts: false, dsr: false, ri: false, dcd: false }
    expect(await serial!.modem()).toEqual(none)
    const seen: unknown[] = []
    const stop = serial!.onModem((now, before) => seen.push([now, before]))
    reached.port.wire({ cts: true })
    await until('it is told', () => seen.length === 1)
    expect(seen).toEqual([[{ ...none, cts: true }, none]])
    stop()
    reached.port.wire({ dcd: true })
    await until('it is known', async () => (await serial!.modem())?.dcd)
    expect(seen).toHaveLength(1)
  })

  test('tells of the errors of its line from when it is asked', async () => {
    await using reached = await reach()
    const { serial } = reached.channel
    expect(await serial!.counters()).toEqual({ frame: 0, overrun: 0, parity: 0, breaks: 0 })
    reached.port.count({ frame: 1 })
    await until('one is counted', async () => (await serial!.counters())?.frame === 1)
  })

  test('ends a while after its other side has ended, for its server would hang up at once', async () => {
    await using reached = await reach(undefined, ',end-after=0.2')
    const { stream } = reached.channel
    stream.end('question')
    expect(String(await gather(reached.port.far, 8))).toBe('question')
    reached.port.far.write('answer')
    expect(String(await gather(stream, 6))).toBe('answer')
    stream.resume()
    await until('it ends', () => stream.readableEnded)
  })

  test('fails in time when its server hangs up, and asks nothing more', async () => {
    await using reached = await reach()
    const { serial, stream } = reached.channel
    const closed = new Promise(resolve => stream.once('close', resolve))
    stream.resume()
    reached.port.port.stream.destroy(new Error('unplugged'))
    await closed
    await expect(serial!.set({ baud: 300 })).rejects.toMatchObject({ code: 'closed' })
  })
})

describe('a chain', () => {
  test('of a server, a client and a port hands on settings, lines and breaks', async () => {
    await using served = await openServedPort()
    await using chain = await openTestRelay({
      listen: 'RFC2217-LISTEN:0,bind=127.0.0.1,fork',
      targets: [`RFC2217:127.0.0.1:${served.relay.port},end-after=0.1`],
    })
    await using socket = await openClient(chain.port)
    const client = telnetPeer(socket)
    client.option('will', 44)
    await client.next('modem-state')
    expect(await client.ask('baud', 57_600)).toBe(57_600)
    expect(await client.ask('control', 9)).toBe(9)
    expect(await client.ask('control', 5)).toBe(5)
    expect(await client.ask('purge', 1)).toBe(1)
    const [port] = served.ports
    expect(port!.asked).toEqual(['baud=57600', 'dtr=0', 'break on', 'purge rx'])
    port!.wire({ dsr: true })
    expect((await client.next('modem-state')).value).toBe(32 | 2)
    client.write(Buffer.of(255, 0, 255))
    expect(await gather(port!.far, 3)).toEqual(Buffer.of(255, 0, 255))
  })

  test('in front of a plain target carries its bytes', async () => {
    await using echo = await openEchoServer()
    await using served = await openServedPort({ target: `TCP4:127.0.0.1:${echo.port}` })
    await using channel = await dial(served, ',baud=19200')
    channel.stream.write('hello')
    expect(String(await gather(channel.stream, 5))).toBe('hello')
  })
})

/** A server that is made by hand. */
async function openScripted(script: (peer: TelnetPeer) => void) {
  const peers: TelnetPeer[] = []
  const server = await openServer(socket => {
    const peer = telnetPeer(socket, 'server')
    peers.push(peer)
    script(peer)
    socket.resume()
  })
  return {
    peers,
    relay: { port: server.port } as ServedPort['relay'],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

describe('servers that are odd', () => {
  test('one that speaks no telnet is found out in time', async () => {
    await using server = await openScripted(peer => peer.write('welcome to a plain TCP server'))
    const error = await refusal(dial(server, ',connect-timeout=0.3'))
    expect(error).toMatchObject({ code: 'timed-out', fix: expect.stringContaining('TCP:<host>:<port>') })
  })

  test('one that speaks telnet and nothing else says so', async () => {
    await using server = await openScripted(peer => {
      for (const option of [44, 0, 3]) peer.option('dont', option)
    })
    expect(await refusal(dial(server))).toMatchObject({ code: 'refused' })
  })

  test('one that closes at once is told of at once', async () => {
    await using server = await openServer(socket => void socket.resume().destroy())
    expect((await refusal(dial({ relay: { port: server.port } as never }))).code).toMatch(/reset|closed/)
  })

  test('one that never answers how its line is is tried for as long as the address says', async () => {
    await using server = await openScripted(peer => peer.option('do', 44))
    expect(await refusal(dial(server, ',baud=9600,connect-timeout=0.5'))).toMatchObject({ code: 'timed-out' })
  })

  /** Answers what it is asked, and tells nothing by itself. */
  const answersOnly = (peer: TelnetPeer) => {
    peer.option('do', 44)
    const line = { baud: 9_600, data: 8, parity: 1, stop: 1, control: 1, 'modem-mask': 255 } as const
    for (const [name, value] of Object.entries(line) as [keyof typeof line, number][]) {
      void peer.next(name).then(() => peer.tell({ name, value }))
    }
  }

  test('one that tells of its wires late is heard, for until then they were taken to be on', async () => {
    await using server = await openScripted(answersOnly)
    await using channel = await dial(server)
    expect(await channel.serial!.modem()).toBeUndefined()
    const heard: ModemLines[][] = []
    channel.serial!.onModem((now, before) => heard.push([now, before]))
    server.peers[0]!.tell({ name: 'modem-state', value: 16 })
    const [now, before] = await until('it is heard', () => heard[0])
    expect(now).toEqual({ cts: true, dsr: false, dcd: false, ri: false })
    expect(before).toEqual({ cts: true, dsr: true, dcd: true, ri: false })
  })

  test('one that asks for a pause gets it, and the rest when it is over', async () => {
    await using server = await openScripted(answersOnly)
    await using channel = await dial(server)
    const [peer] = server.peers
    peer!.tell({ name: 'suspend' })
    peer!.tell({ name: 'modem-state', value: 16 })
    await until('so is what came after it', async () => (await channel.serial!.modem())?.cts)
    channel.stream.write('held')
    peer!.tell({ name: 'modem-state', value: 32 })
    await until('words go on', async () => (await channel.serial!.modem())?.dsr)
    expect(peer!.data()).toHaveLength(0)
    peer!.tell({ name: 'resume' })
    await until('data goes on', () => peer!.data().toString() === 'held')
  })
})

test('junk from a server leaves the client whole, and the next word is understood', async () => {
  const byte = fc.oneof(
    fc.constantFrom(255, 250, 240, 251, 253, 44, 101, 107),
    fc.integer({ min: 0, max: 255 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(byte, { maxLength: 300 }), async bytes => {
      const [inner, outer] = memoryPair({ text: 'memory:inner' }, { text: 'memory:outer' })
      await using _outer = outer
      const server = rfc2217Server(outer)
      const [line, end] = memoryPair({ text: 'memory:line' }, { text: 'memory:end' })
      await using _line = line
      await using _end = end
      server.joined?.({ ...line, serial: noPort('/dev/none') }, () => true)
      server.stream.resume()
      const dialled = await rfc2217Client(inner, { what: 'a client', withinMs: 5_000 }, openContext())
      await using client = dialled
      client.stream.resume()
      outer.stream.write(Buffer.from([...bytes, 255, 240, 255, 240]))
      // Held back or not by what the junk has said.
      outer.stream.write(comPortBytes({ name: 'resume' }, 'server'))
      outer.stream.write(comPortBytes({ name: 'modem-state', value: 64 }, 'server'))
      await until('the last word is understood', async () => (await client.serial!.modem())?.ri)
      expect(await client.serial!.set({ baud: 4_800 })).toMatchObject({ baud: 4_800 })
    }),
    { numRuns: 60 },
  )
})

test('a server in front of a line that its clients could not reach is refused', () => {
  const listen = 'RFC2217-LISTEN:2001,fork'
  for (const [target, fix] of [
    ['/dev/ttyUSB0,raw,b115200', 'write `SERIAL:/dev/ttyUSB0`'],
    ['OPEN:/dev/ttyUSB0', 'write `SERIAL:/dev/ttyUSB0`'],
    ['@lab//dev/ttyUSB0,raw,b115200', 'write `@lab/SERIAL:/dev/ttyUSB0`'],
    ['@lab/FILE:/dev/ttyUSB0', 'write `@lab/SERIAL:/dev/ttyUSB0`'],
    ['@lab/SERIAL:/dev/ttyUSB0!!SERIAL:/dev/ttyUSB1', 'Write one address'],
    ['@lab/SERIAL:/dev/ttyUSB0,share,notices', 'Leave `notices` out'],
    ['@lab/SERIAL:/dev/ttyUSB0,crnl', 'Leave `crnl` out'],
    ['@lab/SERIAL:/dev/ttyUSB0,rfc2217=0', 'Keep one of them'],
    ['SERIAL:/dev/ttyUSB0,rfc2217', 'twice is once too often'],
  ] as const) {
    expect(() => bindAll({ listen, targets: [target] })).toThrow(fix)
  }
  for (const target of ['SERIAL:/dev/ttyUSB0', 'RFC2217:far:2001', 'TCP:far:23']) {
    bindAll({ listen, targets: [target] })
    bindAll({ listen, targets: [`@lab/${target}`] })
  }
  bindAll({ listen, targets: ['@lab/SERIAL:/dev/ttyUSB0,rfc2217,lockfile=/run/lock/lab'] })
})

test('what no line can be is refused where it is written', () => {
  for (const [written, problem] of [
    ['baud=0', 'from 1 to'],
    ['data=9', 'none that a line can have'],
    ['parity=bogus', 'none that a line can have'],
    ['stop=3', 'none that a line can have'],
    ['data=8,stop=1.5', '1.5 stop bits'],
  ]) {
    expect(() => bindTarget(`RFC2217:lab:2001,${written}`)).toThrow(problem)
  }
})
