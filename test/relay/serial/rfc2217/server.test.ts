import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import type { FlowSettings } from '#relay/flow-settings.ts'
import { type ComPortNumber, comPortBytes } from '#relay/serial/rfc2217/codec.ts'
import { rfc2217Server } from '#relay/serial/rfc2217/server.ts'
import { optionBytes } from '#relay/serial/telnet.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { type MemoryPort, openMemoryPort } from '#test/resources/serial/memory-port.ts'
import { memoryTarget, openServedPort } from '#test/resources/serial/served-port.ts'
import { telnetPeer } from '#test/resources/serial/telnet-peer.ts'
import { openClient, openEchoServer, openServer } from '#test/resources/servers.ts'
import { writeUntilStalled } from '#test/resources/streams.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

describe('agreeing', () => {
  test('binary, no go-ahead and the port are offered and agreed on, and the modem state follows', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    await until('the server has said what it wishes', () => client.options.length === 6)
    expect([...client.options].sort()).toEqual(['do 0', 'do 3', 'do 44', 'will 0', 'will 1', 'will 3'])
    client.option('will', 44)
    expect(await client.next('modem-state')).toEqual({ name: 'modem-state', value: 0 })
    client.option('do', 44)
    await until('it does that too', () => client.options.includes('will 44'))
    await client.ask('baud', 0)
    // It was told once.
    expect(client.messages.filter(({ name }) => name === 'modem-state')).toHaveLength(1)
  })

  test('what it does not know is refused once, and nobody answers for ever', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    for (let times = 0; times < 3; times++) {
      client.option('will', 24)
      client.option('do', 31)
      client.option('wont', 24)
    }
    await client.ask('baud', 0)
    expect(client.options.filter(option => /24|31/.test(option))).toEqual(['dont 24', 'wont 31'])
  })
})

describe('settings', () => {
  /** What is sent, what is answered, and what was asked of the port. */
  const table: readonly [
    what: string,
    name: ComPortNumber,
    value: number | undefined,
    answer: number,
    asked?: string,
  ][] = [
    ['the baud is asked for', 'baud', 0, 9_600],
    ['the baud is asked for with too few bytes', 'baud', undefined, 9_600],
    ['the baud is set', 'baud', 115_200, 115_200, 'baud=115200'],
    ['a baud of many bytes 255 is set', 'baud', 0x00ff_ffff, 0x00ff_ffff, 'baud=16777215'],
    ['a baud that is none is refused', 'baud', 0xffff_ffff, 9_600],
    ['data bits are asked for', 'data', 0, 8],
    ['data bits are set', 'data', 7, 7, 'data=7'],
    ['5 data bits are set', 'data', 5, 5, 'data=5'],
    ['4 data bits are refused', 'data', 4, 8],
    ['9 data bits are refused', 'data', 9, 8],
    ['data bits without a number are asked for', 'data', undefined, 8],
    ['the parity is asked for', 'parity', 0, 1],
    ['odd parity is set', 'parity', 2, 2, 'parity=odd'],
    ['even parity is set', 'parity', 3, 3, 'parity=even'],
    ['mark parity is set', 'parity', 4, 4, 'parity=mark'],
    ['space parity is set', 'parity', 5, 5, 'parity=space'],
    ['another parity is refused', 'parity', 6, 1],
    ['stop bits are asked for', 'stop', 0, 1],
    ['2 stop bits are set', 'stop', 2, 2, 'stop=2'],
    ['1.5 stop bits do not go with 8 data bits', 'stop', 3, 1],
    ['more stop bits are refused', 'stop', 4, 1],
    ['the flow control is asked for', 'control', 0, 1],
    ['the flow control is asked for without a number', 'control', undefined, 1],
    ['no flow control is set', 'control', 1, 1, 'flow=none'],
    ['XON/XOFF is set', 'control', 2, 2, 'flow=xonxoff'],
    ['RTS/CTS is set', 'control', 3, 3, 'flow=rtscts'],
    ['flow control by DCD is refused', 'control', 17, 1],
    ['flow control by DSR is refused', 'control', 19, 1],
    ['the inbound flow control is asked for', 'control', 13, 14],
    ['no inbound flow control is what it is', 'control', 14, 14],
    ['inbound XON/XOFF alone is refused', 'control', 15, 14],
    ['inbound RTS/CTS alone is refused', 'control', 16, 14],
    ['inbound flow control by DTR is refused', 'control', 18, 14],
    ['the break is asked for', 'control', 4, 6],
    ['a break begins', 'control', 5, 5, 'break on'],
    ['a break ends', 'control', 6, 6, 'break off'],
    ['DTR is asked for', 'control', 7, 8],
    ['DTR is raised', 'control', 8, 8, 'dtr=1'],
    ['DTR is lowered', 'control', 9, 9, 'dtr=0'],
    ['RTS is asked for', 'control', 10, 11],
    ['RTS is raised', 'control', 11, 11, 'rts=1'],
    ['RTS is lowered', 'control', 12, 12, 'rts=0'],
    ['what is not invented yet is answered', 'control', 20, 0],
    ['what was received is forgotten', 'purge', 1, 1, 'purge rx'],
    ['what is to be sent is forgotten', 'purge', 2, 2, 'purge tx'],
    ['both are forgotten', 'purge', 3, 3, 'purge both'],
    ['forgetting nothing is answered', 'purge', 4, 0],
    ['the state of the line is told', 'line-state', undefined, 96],
    ['the state of the modem lines is told', 'modem-state', undefined, 0],
    ['the mask of the line is set', 'line-mask', 30, 30],
    ['the mask of the modem lines is set', 'modem-mask', 254, 254],
    ['a mask without a number is told', 'line-mask', undefined, 0],
    ['the other mask without a number is told', 'modem-mask', undefined, 255],
  ]
  for (const [what, name, value, answer, asked] of table) {
    test(what, async () => {
      await using served = await openServedPort()
      await using client = await served.client()
      expect(await client.ask(name, value)).toBe(answer)
      expect(served.ports[0]!.asked).toEqual(asked === undefined ? [] : [asked])
    })
  }

  test('1.5 stop bits go with 5 data bits', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    expect(await client.ask('data', 5)).toBe(5)
    expect(await client.ask('stop', 3)).toBe(3)
  })

  test('what the device does not keep is answered at once with what it has', async () => {
    await using served = await openServedPort({ refuses: ({ baud }) => baud !== undefined })
    await using client = await served.client()
    expect(await client.ask('baud', 31_250)).toBe(9_600)
  })

  test('states that were set are told when they are asked for', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    for (const [set, ask] of [
      [5, 4],
      [9, 7],
      [12, 10],
      [3, 0],
    ] as const) {
      expect(await client.ask('control', set)).toBe(set)
      expect(await client.ask('control', ask)).toBe(set)
    }
    expect(await client.ask('control', 13)).toBe(16)
  })

  test('who asks for the signature hears it, and who tells his own does not', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.tell({ name: 'signature', text: 'a client' })
    client.tell({ name: 'signature', text: '' })
    expect(await client.next('signature')).toEqual({ name: 'signature', text: 'fleetcat' })
    await client.ask('baud', 0)
    expect(client.messages).toHaveLength(2)
  })

  test('they are as before when the client has gone', async () => {
    await using served = await openServedPort()
    {
      await using client = await served.client()
      await client.ask('baud', 57_600)
      await client.ask('parity', 3)
      await client.ask('control', 5)
    }
    const { asked, port, far } = served.ports[0]!
    far.resume().end()
    await until('the connection is over', () => served.relay.closed.length === 1)
    expect(asked).toContain('break off')
    expect(asked.indexOf('baud=9600')).toBeGreaterThan(asked.indexOf('break off'))
    expect(port.settings).toMatchObject({ baud: 9_600, parity: 'none' })
  })
})

test.each<[string, FlowSettings]>([
  ['as they are', {}],
  ['through a throttle', { throttleBytesPerSecond: 1_000_000 }],
  ['with their time', { timestamp: true }],
  ['through a dump', { dump: { format: 'hex' } }],
])('a port whose bytes go %s is free as soon as the client has hung up whose it was', async (_, flow) => {
  await using served = await openServedPort({ flow })
  {
    await using client = await served.client()
    client.option('will', 44)
    await client.next('modem-state')
    client.write('last words')
    client.socket.end()
    const stamp = flow.timestamp ? 25 : 0
    expect(String(await gather(served.ports[0]!.far, stamp + 10)).slice(stamp)).toBe('last words')
  }
  await until('the connection is over', () => served.relay.closed.length === 1)
  expect(served.relay.closed[0]!.cause).toBe('eof')
})

describe('notices', () => {
  test('a change of the modem lines is told, with what has changed', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.option('will', 44)
    expect((await client.next('modem-state')).value).toBe(0)
    const [port] = served.ports
    port!.wire({ cts: true, dsr: true })
    expect((await client.next('modem-state')).value).toBe(16 | 1 | 32 | 2)
    port!.wire({ cts: false, dcd: true })
    expect((await client.next('modem-state')).value).toBe(32 | 1 | 128 | 8)
    port!.wire({ ri: true })
    expect((await client.next('modem-state')).value).toBe(32 | 128 | 64)
    port!.wire({ ri: false })
    expect((await client.next('modem-state')).value).toBe(32 | 128 | 4)
  })

  test('only what the mask lets through is told', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.option('will', 44)
    await client.next('modem-state')
    const [port] = served.ports
    expect(await client.ask('modem-mask', 128)).toBe(128)
    expect((await client.next('modem-state')).value).toBe(0)
    port!.wire({ cts: true })
    port!.wire({ dcd: true })
    expect((await client.next('modem-state')).value).toBe(128)
    expect(await client.ask('modem-mask', 0)).toBe(0)
    await client.next('modem-state')
    port!.wire({ dcd: false })
    await client.ask('baud', 0)
    expect(client.messages.filter(({ name }) => name === 'modem-state')).toHaveLength(4)
  })

  test('nobody who has not asked for the port is told anything', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    await until('the port is open', () => served.ports.length === 1)
    served.ports[0]!.wire({ cts: true })
    await client.ask('baud', 0)
    expect(client.messages).toHaveLength(1)
  })

  test('errors of the line are told once somebody wants to know', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    await client.ask('baud', 0)
    const [port] = served.ports
    port!.count({ frame: 3 })
    expect(await client.ask('line-mask', 16 | 8 | 2)).toBe(26)
    port!.count({ parity: 1 })
    port!.count({ breaks: 1, frame: 4 })
    expect((await client.next('line-state')).value).toBe(16 | 8)
    port!.count({ overrun: 1 })
    expect((await client.next('line-state')).value).toBe(2)
    expect(await client.ask('line-mask', 0)).toBe(0)
  })

  test('a line without wires is as if they were always on, and its control lines stay so', async () => {
    await using served = await openServedPort({ wireless: true })
    await using client = await served.client()
    client.option('will', 44)
    expect((await client.next('modem-state')).value).toBe(128 | 32 | 16)
    expect(await client.ask('control', 9)).toBe(8)
    expect(await client.ask('control', 11)).toBe(11)
    expect(await client.ask('control', 5)).toBe(6)
  })
})

describe('the bytes', () => {
  test('pass as they are once binary is agreed on, 255 and line ends among them', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    for (const verb of ['do', 'will'] as const) client.option(verb, 0)
    await client.ask('baud', 0)
    const all = Buffer.from(Array.from({ length: 512 }, (_, at) => at & 255))
    client.write(all)
    expect(await gather(served.ports[0]!.far, all.length)).toEqual(all)
    served.ports[0]!.far.write(all)
    await until('all is back', () => client.data().length === all.length)
    expect(client.data()).toEqual(all)
  })

  test('have line ends of a terminal before that', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.say(Buffer.from('ls\r\0two\r\n'))
    expect(String(await gather(served.ports[0]!.far, 8))).toBe('ls\rtwo\r\n')
  })

  test('stop and go on when the client says so, while its words are still heard', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.tell({ name: 'suspend' })
    await client.ask('baud', 0)
    served.ports[0]!.far.write('not yet')
    expect(await client.ask('baud', 4_800)).toBe(4_800)
    expect(client.data()).toHaveLength(0)
    client.tell({ name: 'resume' })
    await until('they come', () => client.data().toString() === 'not yet')
  })

  test('that were held back are forgotten with what was received', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.tell({ name: 'suspend' })
    await client.ask('baud', 0)
    served.ports[0]!.far.write('forget me')
    await until('they are on the way', () => [...served.relay.relay.connections.values()][0]?.bytesOut === 9)
    await client.ask('purge', 1)
    client.tell({ name: 'resume' })
    served.ports[0]!.far.write('keep me')
    await until('the others come', () => client.data().toString() === 'keep me')
  })

  test('a break in the middle of them is one on the line', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.say([65, 255, 243, 66])
    expect(String(await gather(served.ports[0]!.far, 2))).toBe('AB')
    expect(served.ports[0]!.asked).toEqual(['break on', 'break off'])
  })

  test('who asks whether anybody is there is answered', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.say([255, 246])
    await until('there is an answer', () => /fleetcat: yes/.test(client.data().toString()))
  })

  test('a line that takes nothing leaves the client its words, and asks it to wait', async () => {
    await using served = await openServedPort()
    await using client = await served.client()
    client.option('will', 44)
    await client.ask('baud', 0)
    await until('it is asked to wait', () => {
      client.write(Buffer.alloc(8_192, 1))
      return client.messages.some(({ name }) => name === 'suspend')
    })
    expect(await client.ask('purge', 2)).toBe(2)
    expect(served.ports[0]!.asked).toContain('purge tx')
    served.ports[0]!.far.resume()
    await client.next('resume')
  })

  test('a client that takes nothing in does not stop another', async () => {
    await using served = await openServedPort()
    await using slow = await served.client()
    await until('its port is open', () => served.ports.length === 1)
    slow.socket.pause()
    expect(await writeUntilStalled(served.ports[0]!.far, 64 * 1_048_576)).toBeLessThan(64 * 1_048_576)
    await using quick = await served.client()
    expect(await quick.ask('baud', 19_200)).toBe(19_200)
    quick.write('hello')
    expect(String(await gather(served.ports[1]!.far, 5))).toBe('hello')
  })
})

describe('hostile clients', () => {
  test('junk of any kind leaves the server whole, and the next word is understood', async () => {
    await using served = await openServedPort()
    const byte = fc.oneof(fc.constantFrom(255, 250, 240, 251, 253, 44), fc.integer({ min: 0, max: 255 }))
    await fc.assert(
      fc.asyncProperty(fc.array(byte, { maxLength: 300 }), async bytes => {
        // A break takes its time.
        const junk = Buffer.from(bytes.map(each => (each === 243 ? 0 : each)))
        await using client = await served.client()
        client.say(junk)
        // Whatever had begun is over after this.
        client.say([255, 240, 255, 240])
        served.ports.at(-1)?.far.resume()
        expect(await client.ask('modem-mask', 128)).toBe(128)
      }),
      { numRuns: 60 },
    )
  })

  test('a flood of questions whose answers nobody reads takes no memory', async () => {
    const [inner, outer] = memoryPair({ text: 'memory:inner' }, { text: 'memory:outer' })
    await using server = rfc2217Server(inner)
    await using _outer = outer
    const { port } = openMemoryPort()
    await using _port = port
    server.joined?.({ ...outer, stream: port.stream, serial: port }, () => true)
    server.stream.resume()
    const questions = Buffer.concat(Array(8_192).fill(comPortBytes({ name: 'baud', value: 0 }, 'client')))
    for (let times = 0; times < 40; times++) outer.stream.write(questions)
    await until('nothing is heard any more', () => inner.stream.isPaused())
    await until('nor asked', () => outer.stream.writableLength > 30 * questions.length)
    expect(inner.stream.writableLength).toBeLessThan(2 * questions.length)
    const answers = telnetPeer(outer.stream)
    await until('all are answered in the end', () => answers.messages.length === 40 * 8_192)
  })

  test('nothing is done for a client that may do nothing any more', async () => {
    const barred = new RelayError('lapsed', { what: 'the relay' })
    let isBarred = false
    const ports: MemoryPort[] = []
    await using relay = await openTestRelay({
      listen: 'RFC2217-LISTEN:0,bind=127.0.0.1,fork',
      targets: [memoryTarget(port => ports.push(port))],
      barrier: () => (isBarred ? barred : undefined),
    })
    await using socket = await openClient(relay.port)
    const client = telnetPeer(socket)
    await client.ask('baud', 300)
    isBarred = true
    client.tell({ name: 'baud', value: 600 })
    await until('it is cut', () => relay.closed.length === 1)
    expect(relay.closed[0]!.cause).toBe('lapsed')
    expect(ports[0]!.asked).not.toContain('baud=600')
  })
})

describe('other targets', () => {
  test('a TCP server is a port that is set as anybody likes, and has no wires', async () => {
    await using echo = await openEchoServer()
    await using served = await openServedPort({ target: `TCP4:127.0.0.1:${echo.port}` })
    await using client = await served.client()
    client.option('will', 44)
    expect((await client.next('modem-state')).value).toBe(128 | 32 | 16)
    expect(await client.ask('baud', 2_400)).toBe(2_400)
    expect(await client.ask('baud', 0)).toBe(2_400)
    expect(await client.ask('control', 9)).toBe(8)
    expect(await client.ask('purge', 3)).toBe(3)
    client.write('hello')
    await until('it is echoed', () => client.data().toString() === 'hello')
  })

  test('the end of the client reaches the target, and its answer comes back', async () => {
    await using server = await openServer(socket => {
      socket.on('end', () => socket.end('goodbye')).resume()
    })
    await using served = await openServedPort({ target: `TCP4:127.0.0.1:${server.port}` })
    await using client = await served.client()
    client.socket.end()
    await until('all is over', () => client.socket.readableEnded)
    expect(client.data().toString()).toBe('goodbye')
  })
})

test('a client is not heard before its target is open', async () => {
  const [inner, outer] = memoryPair({ text: 'memory:inner' }, { text: 'memory:outer' })
  await using server = rfc2217Server(inner)
  await using _outer = outer
  outer.stream.write(optionBytes('will', 44))
  expect(server.stream.readableFlowing).toBe(null)
  expect(inner.stream.readableLength).toBe(3)
  expect(outer.stream.readableLength).toBe(0)
})
