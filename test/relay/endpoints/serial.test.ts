import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { rename, symlink, unlink } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { matches, parsePattern } from '#relay/pattern.ts'
import { heldPort } from '#relay/serial/locks.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { launcher, startProgram } from '#test/resources/program.ts'
import { openTestRelay, startRelay } from '#test/resources/relays.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openFakePort, openLoop } from '#test/resources/serial/cables.ts'
import { openFakeLines } from '#test/resources/serial/lines.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)
const refusal = (text: string): RelayError => {
  try {
    bindAddress(text)
  } catch (error) {
    return error as RelayError
  }
  throw new Error(`${text} is not refused`)
}

/** What a stream has said so far. */
function heard(stream: NodeJS.ReadableStream): () => string {
  let text = ''
  stream.on('data', bytes => {
    text += bytes.toString('latin1')
  })
  return () => text
}

async function client(port: number): Promise<AsyncDisposable & { socket: Socket; said: () => string }> {
  const socket = connect({ port, allowHalfOpen: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  const said = heard(socket)
  return {
    socket,
    said,
    async [Symbol.asyncDispose]() {
      socket.destroy()
      if (!socket.closed) await once(socket, 'close')
    },
  }
}

describe('the words of the address', () => {
  test.each([
    'SERIAL:/dev/ttyUSB0',
    'SERIAL:/dev/ttyUSB0,b115200,raw,echo=0',
    'SERIAL:/dev/ttyUSB0,baud=115200,data=8,parity=none,stop=1,flow=rtscts',
    'SERIAL:/dev/ttyS0,baud=250000,stop=1.5,data=5,dtr=0,rts=1',
    'SERIAL:/dev/ttyS0,raw,b9600,cs8,parenb=0,cstopb=0,crtscts=0,ixon=0,clocal,hupcl=0,cfmakeraw',
    'SERIAL:/dev/serial/by-id/usb-FTDI-if00,share,replay=8k,log=/var/log/console.log,log-size=1m,log-keep=3',
    'SERIAL:/dev/ttyS0,watch,notices=0',
    'SERIAL:/dev/ttyS0,take-over,char-delay=5ms,line-delay=0.1,send=\\r\\n,end-after=2',
    'SERIAL:/dev/ttyS0,exclusive,replug,vstop=19',
    'serial:/dev/ttyS0,PARITY=Even',
  ])('%s is right', text => {
    expect(bindAddress(text).scope.keyword).toBe('SERIAL')
  })

  test.each<[string, RegExp]>([
    ['SERIAL', /0 arguments instead of 1/],
    ['SERIAL:', /the path is missing. Write `SERIAL:<path>`$/],
    ['SERIAL:/dev/ttyS0:9600', /2 arguments/],
    ['SERIAL:/dev/ttyS0,baud', /needs a value/],
    ['SERIAL:/dev/ttyS0,baud=0', /whole number from 1/],
    ['SERIAL:/dev/ttyS0,baud=-1', /whole number from 1/],
    ['SERIAL:/dev/ttyS0,baud=9600.5', /whole number/],
    ['SERIAL:/dev/ttyS0,baud=fast', /whole number.*`baud=115200`/],
    ['SERIAL:/dev/ttyS0,baud', /`baud=115200`/],
    ['SERIAL:/dev/ttyS0,baud=99999999999', /whole number/],
    ['SERIAL:/dev/ttyS0,b115201', /Did you mean `b115200`/],
    ['SERIAL:/dev/ttyS0,data=9', /Write one of 5, 6, 7, 8/],
    ['SERIAL:/dev/ttyS0,data=4', /Write one of/],
    ['SERIAL:/dev/ttyS0,parity=bogus', /Write one of none, even, odd, mark, space/],
    ['SERIAL:/dev/ttyS0,parity=evem', /Did you mean `even`/],
    ['SERIAL:/dev/ttyS0,stop=3', /Write one of 1, 1.5, 2/],
    ['SERIAL:/dev/ttyS0,flow=rts', /rtscts/],
    ['SERIAL:/dev/ttyS0,data=8,stop=1.5', /1\.5 stop bits go with 5 data bits only/],
    ['SERIAL:/dev/ttyS0,data=5,stop=2', /2 stop bits do not go with 5 data bits/],
    ['SERIAL:/dev/ttyS0,bauds=9600', /Did you mean `baud`/],
    ['SERIAL:/dev/ttyS0,baud=9600,b9600', /`baud` and `b9600` both say the same/],
    ['SERIAL:/dev/ttyS0,data=7,cs7', /both say the same/],
    ['SERIAL:/dev/ttyS0,parity=even,parenb', /both say the same/],
    ['SERIAL:/dev/ttyS0,stop=2,cstopb', /both say the same/],
    ['SERIAL:/dev/ttyS0,flow=none,crtscts', /both say the same/],
    ['SERIAL:/dev/ttyS0,baud=300,baud=1200', /given twice/],
    ['SERIAL:/dev/ttyS0,min=1', /not supported/],
    ['SERIAL:/dev/ttyS0,vtime=5', /not supported/],
    ['SERIAL:/dev/ttyS0,exclusive,share', /contradict each other/],
    ['SERIAL:/dev/ttyS0,watch,take-over', /contradict each other/],
    ['SERIAL:/dev/ttyS0,watch,send=reboot', /who watches writes nothing/],
    ['SERIAL:/dev/ttyS0,watch,char-delay=5ms', /who watches writes nothing/],
    ['SERIAL:/dev/ttyS0,log=/tmp/x,exclusive', /for itself too/],
    ['SERIAL:/dev/ttyS0,join', /`join` alone does nothing/],
    ['SERIAL:/dev/ttyS0,join,exclusive', /`join` opens nothing .* `exclusive` does/],
    ['SERIAL:/dev/ttyS0,join,take-over', /`join` opens nothing .* `take-over` does/],
    ['SERIAL:/dev/ttyS0,share,join,log=/tmp/x', /`join` opens nothing .* `log` does/],
    ['SERIAL:/dev/ttyS0,share,join,alert=x', /`join` opens nothing .* `alert` does/],
    ['SERIAL:/dev/ttyS0,replay=8k', /`replay` alone does nothing/],
    ['SERIAL:/dev/ttyS0,notices', /`notices` alone does nothing/],
    ['SERIAL:/dev/ttyS0,share,replay=8q', /no number of bytes/],
    ['SERIAL:/dev/ttyS0,share,replay=2g', /no number of bytes/],
    ['SERIAL:/dev/ttyS0,log-size=1m', /`log-size` alone does nothing/],
    ['SERIAL:/dev/ttyS0,share,replug=0', /always waited for/],
    ['SERIAL:/dev/ttyS0,char-delay=-1', /not a duration/],
    ['@edge/SERIAL:ttyS0', /whole path/],
  ])('%s is refused, with what would be right', (text, message) => {
    const error = refusal(text)
    expect(['usage', 'unsupported']).toContain(error.code)
    expect(error.message).toMatch(message)
  })
})

describe('the ceiling', () => {
  const permits = (line: string, text: string) => matches(parsePattern(line), bindAddress(text).scope)

  test('permits ports by their paths, and may permit no more than watching', () => {
    expect(permits('SERIAL:/dev/ttyUSB*', 'SERIAL:/dev/ttyUSB0,b9600,share,send=x')).toBe('yes')
    expect(permits('SERIAL:/dev/ttyUSB*', 'SERIAL:/dev/ttyUSB0,watch')).toBe('yes')
    expect(permits('SERIAL:/dev/ttyUSB*', 'SERIAL:/dev/ttyS0')).toBe('no')
    expect(permits('SERIAL:/dev/ttyUSB*,watch', 'SERIAL:/dev/ttyUSB0,watch')).toBe('yes')
    expect(permits('SERIAL:/dev/ttyUSB*,watch', 'SERIAL:/dev/ttyUSB0,share')).toBe('no')
  })

  test('is asked when the port is opened, of the place that its links lead to', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const alias = join(scratch.path, 'console')
    await symlink(port.path, alias)
    const denied = new RelayError('denied', { what: 'a test' })
    const egress = {
      check() {},
      checkLed() {
        throw denied
      },
    }
    await expect(dial(`SERIAL:${alias}`, openContext({ egress }))).rejects.toBe(denied)
    {
      await using _channel = await dial(`SERIAL:${alias}`)
    }
    // Also where somebody has it open already.
    await using _shared = await dial(`SERIAL:${port.path},share`)
    await expect(dial(`SERIAL:${alias},watch`, openContext({ egress }))).rejects.toBe(denied)
    await using _watching = await dial(`SERIAL:${alias},watch`)
  })

  test('is asked about the log too', () => {
    const { writes } = bindAddress('SERIAL:/dev/ttyS0,log=/var/log/console.log')
    expect(writes?.map(({ text }) => text)).toEqual(['OPEN:/var/log/console.log,append,creat,wronly'])
  })
})

describe('a port of its own', () => {
  test('passes bytes as they are, both ways, through a relay', async () => {
    await using port = await openLoop()
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path},b115200`] })
    await using one = await client(running.port)
    const bytes = randomBytes(50_000)
    one.socket.write(bytes)
    await until('all has come back', () => one.said().length === bytes.length)
    expect(Buffer.from(one.said(), 'latin1').equals(bytes)).toBe(true)
  })

  test('is set by plain names and by those of socat', async () => {
    await using port = await openFakePort()
    for (const [options, line] of [
      ['baud=57600,stop=2,flow=xonxoff', { baud: 57_600, stop: 2, flow: 'xonxoff' }],
      ['b38400,cstopb,crtscts,cs8', { baud: 38_400, stop: 2, flow: 'rtscts' }],
      ['ispeed=19200,ospeed=19200', { baud: 19_200 }],
    ] as const) {
      await using _channel = await dial(`SERIAL:${port.path},${options}`)
      expect(spawnStty(port.path)).toContain(`speed ${line.baud} baud`)
      expect(spawnStty(port.path)).toMatch('stop' in line ? / cstopb/ : /-cstopb/)
      if ('flow' in line) expect(spawnStty(port.path)).toMatch(line.flow === 'rtscts' ? / crtscts/ : / ixon/)
    }
  })

  test('counts as ended when the other side has, and the line has been silent for a while', async () => {
    await using port = await openFakePort()
    const said = heard(port.far)
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path},end-after=300ms`] })
    await using one = await client(running.port)
    one.socket.end('question')
    await until('it is asked', () => said() === 'question')
    port.far.write('answer')
    await once(one.socket, 'end')
    expect(one.said()).toBe('answer')
    await until('the connection is over', () => running.closed.length === 1)
    expect(running.closed[0]!.cause).toBe('eof')
  })

  test('is refused to a second connection, and free for the next when the first has gone', async () => {
    await using port = await openLoop()
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path}`] })
    {
      await using one = await client(running.port)
      one.socket.write('x')
      await until('it is open', () => one.said() === 'x')
      const two = connect({ port: running.port }).on('error', () => {})
      await new Promise<void>(resolve => two.once('close', () => resolve()))
      expect(running.failed[0]).toMatchObject({
        code: 'conflict',
        message: expect.stringMatching(/in use by 127\.0\.0\.1:\d+ of relay\/test\./),
      })
    }
    await using three = await client(running.port)
    three.socket.write('y')
    await until('it is open again', () => three.said() === 'y')
  })

  test('a hang-up is a failure of its connection, and says what has gone', async () => {
    await using port = await openLoop()
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path}`] })
    await using one = await client(running.port)
    one.socket.write('x')
    await until('it is open', () => one.said() === 'x')
    await port.unplug()
    await until('the connection is over', () => running.closed.length === 1)
    expect(running.closed[0]).toMatchObject({
      cause: 'failed',
      error: { code: 'reset', message: expect.stringContaining('the device has gone') },
    })
  })

  test('revoked in the middle of a write: nothing moves any more, and the port is free', async () => {
    await using port = await openFakePort()
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path}`] })
    await using one = await client(running.port)
    port.far.pause()
    one.socket.write(Buffer.alloc(1_000_000, 'x'))
    await until('it is under way', () => running.opened[0]!.bytesIn > 20_000)
    await running.relay.abort(new RelayError('revoked', { what: 'the relay' }))
    const said = heard(port.far)
    port.far.resume()
    await using again = await dial(`SERIAL:${port.path}`)
    const left = said().length
    again.stream.write('the next')
    await until('the next one is heard', () => said().endsWith('the next'))
    expect(said().slice(left)).toBe('the next')
  })

  test('is paced, byte by byte and line by line', async () => {
    await using port = await openFakePort()
    const times: number[] = []
    let text = ''
    port.far.on('data', bytes => {
      for (const _ of bytes) times.push(performance.now())
      text += bytes
    })
    await using channel = await dial(`SERIAL:${port.path},char-delay=5ms,line-delay=60ms`)
    const began = performance.now()
    channel.stream.write('ab\ncd\r\ne')
    await until('all is there', () => text === 'ab\ncd\r\ne')
    // Timers may be late, and a moment early.
    expect(times[3]! - began).toBeGreaterThan(70)
    expect(times.at(-1)! - began).toBeGreaterThan(145)
  })

  test('is greeted when it is opened', async () => {
    await using port = await openFakePort()
    const said = heard(port.far)
    await using _channel = await dial(`SERIAL:${port.path},send=\\r\\nroot\\n`)
    await until('the greeting has come', () => said() === '\r\nroot\n')
  })

  test('with replug it is waited for when the device has gone', async () => {
    await using scratch = await openScratch()
    const name = join(scratch.path, 'console')
    await using first = await openFakePort()
    await symlink(first.path, name)
    await using channel = await dial(`SERIAL:${name},replug`)
    const said = heard(channel.stream)
    first.far.write('one ')
    await until('the first is heard', () => said() === 'one ')
    await first.unplug()
    await using second = await openFakePort()
    await unlink(name)
    await symlink(second.path, name)
    await until('the second is heard', () => {
      second.far.write('two ')
      return /^one (two )+$/.test(said())
    })
  })
})

describe('a port as a file', () => {
  test.each(['FILE', 'OPEN', 'GOPEN'])('%s takes the options of terminals as socat does', async keyword => {
    await using port = await openLoop()
    await using channel = await dial(`${keyword}:${port.path},raw,echo=0,b57600,cstopb`)
    expect(spawnStty(port.path)).toMatch(/speed 57600 baud.*-icanon/s)
    expect(spawnStty(port.path)).toContain(' cstopb')
    channel.stream.write('x')
    expect((await gather(channel.stream, 1)).toString()).toBe('x')
  })

  test('is refused while it is a port of somebody, who keeps his settings', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const alias = join(scratch.path, 'by-id')
    await symlink(port.path, alias)
    await using _channel = await dial(`SERIAL:${alias},b4800`)
    for (const text of [`FILE:${port.path},raw,b300`, `OPEN:${alias},b300`, alias]) {
      await expect(dial(text)).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining(`in use by this relay, as ${alias}`),
      })
    }
    expect(spawnStty(port.path)).toContain('speed 4800')
  })

  test('is refused to who wants the port meanwhile, by every name, and is no longer when it is closed', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const alias = join(scratch.path, 'by-id')
    await symlink(port.path, alias)
    const cx = openContext({ client: { text: '203.0.113.7:51234' } })
    const two = [await dial(`FILE:${port.path},raw,b300`, cx), await dial(`FILE:${alias}`)]
    for (const text of [`SERIAL:${alias},b9600`, `SERIAL:${port.path},share`]) {
      await expect(dial(text)).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining(`in use by 203.0.113.7:51234, as OPEN:${port.path}`),
      })
    }
    expect(spawnStty(port.path)).toContain('speed 300')
    for (const each of two) await each[Symbol.asyncDispose]()
    await using _channel = await dial(`SERIAL:${port.path}`)
  })

  test('plain names of a line belong to kinds that have one', () => {
    expect(refusal('FILE:/dev/ttyUSB0,baud=9600').message).toMatch(/SERIAL.* ha(s|ve) it/)
  })
})

describe('a shared port', () => {
  test('the first writes, the others watch, and the writing passes on', async () => {
    await using port = await openFakePort()
    const typed = heard(port.far)
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path},share`] })
    const one = await client(running.port)
    one.socket.write('1')
    await until('the first writes', () => typed() === '1')
    await using two = await client(running.port)
    await until('the second is told', () => /\[fleetcat: watching; 127.* writes\]\r\n/.test(two.said()))
    two.socket.write('2')
    await until('the second is told where it goes', () => two.said().includes('goes nowhere'))
    port.far.write('login: ')
    await until('both see it', () => one.said() === 'login: ' && two.said().endsWith('login: '))
    await one[Symbol.asyncDispose]()
    await until('the second may write', () => two.said().includes('[fleetcat: you may write now]'))
    two.socket.write('3')
    await until('it is written', () => typed() === '13')
  })

  test('who takes over writes, and the other watches', async () => {
    await using port = await openFakePort()
    const typed = heard(port.far)
    await using one = await dial(`SERIAL:${port.path},share`)
    const seen = heard(one.stream)
    await using two = await dial(`SERIAL:${port.path},take-over`)
    await until('the first is told', () => seen().includes('has taken over'))
    two.stream.write('two')
    one.stream.write('one')
    await until('the second writes', () => typed() === 'two')
    await using three = await dial(`SERIAL:${port.path},watch`)
    heard(three.stream)
    await two[Symbol.asyncDispose]()
    await until('the first writes again', () => seen().includes('you may write now'))
    one.stream.write('!')
    await until('it is written', () => typed() === 'two!')
    await one[Symbol.asyncDispose]()
    three.stream.write('never')
    port.far.write('x')
    await once(three.stream, 'data')
    expect(typed()).toBe('two!')
  })

  test('is the same by every name, and whoever comes says the same of the line or nothing', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const alias = join(scratch.path, 'console')
    await symlink(port.path, alias)
    await using _one = await dial(`SERIAL:${port.path},share,b9600`)
    await using _two = await dial(`SERIAL:${alias},share,b9600`)
    await using _three = await dial(`SERIAL:${alias},watch`)
    await expect(dial(`SERIAL:${alias},share,b115200`)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('with other settings'),
    })
    await expect(dial(`SERIAL:${alias}`)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('is joined only while others share it, and nothing is opened for who wants no more', async () => {
    await using port = await openFakePort()
    const joining = () => dial(`SERIAL:${port.path},watch,join,replay=1k`)
    const { rdev } = statSync(port.path)
    await expect(joining()).rejects.toMatchObject({
      code: 'not-found',
      why: expect.stringMatching(/^nobody has the port open/),
    })
    expect(heldPort(rdev)).toBeUndefined()
    {
      await using _alone = await dial(`SERIAL:${port.path},exclusive`)
      await expect(joining()).rejects.toMatchObject({ code: 'conflict' })
    }
    {
      await using one = await dial(`SERIAL:${port.path},share`)
      one.stream.resume()
      await using two = await joining()
      const said = heard(two.stream)
      port.far.write('for both\r\n')
      await until('it hears', () => said().includes('for both'))
    }
    await expect(joining()).rejects.toMatchObject({ code: 'not-found' })
    await expect(dial('SERIAL:/dev/ttyUSB77,watch,join')).rejects.toThrow(/this host has no such port/)
  })

  test('is refused while somebody has it for himself', async () => {
    await using port = await openFakePort()
    await using _one = await dial(`SERIAL:${port.path}`)
    await expect(dial(`SERIAL:${port.path},share`)).rejects.toMatchObject({ code: 'conflict' })
  })

  test('a reader who is stalled stalls nobody, and is told what it has lost', async () => {
    await using port = await openFakePort()
    await using writer = await dial(`SERIAL:${port.path},share`)
    await using stalled = await dial(`SERIAL:${port.path},watch`)
    const seen = heard(writer.stream)
    const block = Buffer.alloc(1_000, 'abcdefghi\n')
    const total = 1_000_000
    for (let sent = 0; sent < total; sent += block.length) {
      if (!port.far.write(block)) await once(port.far, 'drain')
    }
    await until('the healthy one has all', () => seen().length === total)
    expect(seen()).not.toContain('fleetcat')
    const late = heard(stalled.stream)
    await until('the stalled one is told', () => /\[fleetcat: (\d+) bytes lost\]\r\n$/.test(late()))
    const lost = Number(/\[fleetcat: (\d+) bytes lost\]/.exec(late())![1])
    const kept = late().replace(/(\r\n)?\[fleetcat: [^\]]*\]\r\n/g, '')
    expect(kept.length + lost).toBe(total)
    port.far.write('after\n')
    await until('it goes on', () => late().endsWith('after\n'))
  })

  test('begins with what came before, from the beginning of a line', async () => {
    await using port = await openFakePort()
    await using one = await dial(`SERIAL:${port.path},share`)
    const seen = heard(one.stream)
    port.far.write('first line\nsecond line\nthird')
    await until('it is heard', () => seen().endsWith('third'))
    await using two = await dial(`SERIAL:${port.path},watch,replay=20,notices=0`)
    expect((await gather(two.stream, 17)).toString()).toBe('second line\nthird')
    await using three = await dial(`SERIAL:${port.path},watch,replay=8k,notices=0`)
    expect((await gather(three.stream, 28)).toString()).toBe('first line\nsecond line\nthird')
  })

  test('outlives its device: all stay, with a notice, and it is found under its new number', async () => {
    await using scratch = await openScratch()
    const name = join(scratch.path, 'by-id')
    await using first = await openFakePort()
    await symlink(first.path, name)
    await using running = await openTestRelay({ targets: [`SERIAL:${name},share`] })
    await using one = await client(running.port)
    await using two = await client(running.port)
    await until('both are there', () => two.said().includes('watching'))
    await first.unplug()
    await until('both are told', () => [one, two].every(({ said }) => said().includes('the port has gone')))
    one.socket.write('typed into nothing')
    await using three = await client(running.port)
    await until('who comes now is told', () => three.said().includes('the port is not there'))
    await using second = await openFakePort()
    const typed = heard(second.far)
    await unlink(name)
    await symlink(second.path, `${name}.new`)
    await rename(`${name}.new`, name)
    await until('both are told again', () =>
      [one, two, three].every(({ said }) => said().includes('the port is there again')),
    )
    one.socket.write('hello')
    second.far.write('welcome')
    await until('bytes flow again', () => typed() === 'hello' && two.said().endsWith('welcome'))
    expect(running.closed).toEqual([])
  })

  test('cutting one of them leaves the others, and what it has written is not sent any more', async () => {
    await using port = await openFakePort()
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path},share`] })
    await using one = await client(running.port)
    await until('the first is there', () => running.relay.connections.size === 1)
    port.far.pause()
    one.socket.write(Buffer.alloc(1_000_000, 'x'))
    await using two = await client(running.port)
    await until('the second is there', () => two.said().includes('watching'))
    await until('it is under way', () => running.opened[0]!.bytesIn > 20_000)
    expect(await running.relay.cut(running.opened[0]!.id, new RelayError('revoked', { what: 'it' }))).toBe(
      true,
    )
    await until('the second may write', () => two.said().includes('you may write now'))
    const typed = heard(port.far)
    port.far.resume()
    two.socket.write('two')
    await until('the second writes', () => typed().endsWith('two'))
    expect(typed().length).toBeLessThan(20_000)
  })

  test('who leaves and comes back at once finds it open', async () => {
    await using port = await openFakePort()
    for (let round = 0; round < 20; round++) {
      const one = await dial(`SERIAL:${port.path},share`)
      void one[Symbol.asyncDispose]()
    }
    await using _last = await dial(`SERIAL:${port.path},share`)
  })
})

describe('a log', () => {
  const lines = (path: string) =>
    readFileSync(path, 'utf8')
      .split('\n')
      .map(line => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, '@ '))

  test('is written with nobody there, each line with its time, and says who writes', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const log = join(scratch.path, 'console.log')
    await using running = await openTestRelay({ targets: [`SERIAL:${port.path},log=${log}`] })
    port.far.write('booting\nready ')
    await until('it is logged', () => existsSync(log) && lines(log).includes('@ ready '))
    {
      await using one = await client(running.port)
      await until('somebody is there', () => lines(log).some(line => /is here/.test(line)))
      one.socket.write('x')
    }
    await until('he has left', () => lines(log).some(line => /has left/.test(line)))
    port.far.write('quiet again\n')
    await until('it is logged', () => lines(log).includes('@ quiet again'))
    expect(lines(log)).toEqual([
      '@ booting',
      '@ ready ',
      expect.stringMatching(/^@ \[fleetcat: 127\.0\.0\.1:\d+ of relay\/test is here\]$/),
      expect.stringMatching(/^@ \[fleetcat: 127\.0\.0\.1:\d+ of relay\/test writes\]$/),
      expect.stringMatching(/^@ \[fleetcat: 127\.0\.0\.1:\d+ of relay\/test has left\]$/),
      '@ quiet again',
      '',
    ])
    await running.relay.abort(new RelayError('revoked', { what: 'the relay' }))
    expect(heldPort(rdev(port.path))).toBeUndefined()
  })

  test('rotates', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const log = join(scratch.path, 'console.log')
    await using _running = await openTestRelay({
      targets: [`SERIAL:${port.path},log=${log},log-size=1k,log-keep=2`],
    })
    for (let n = 0; n < 60; n++) {
      port.far.write(`line ${n} ${'.'.repeat(40)}\n`)
      await until('it is logged', () => existsSync(log) && readFileSync(log, 'utf8').includes(`line ${n} `))
    }
    expect(['.1', '.2', '.3'].map(end => existsSync(log + end))).toEqual([true, true, false])
  })

  test('begins when the device comes, if it is not there yet', async () => {
    await using scratch = await openScratch()
    const name = join(scratch.path, 'port')
    const log = join(scratch.path, 'console.log')
    await using running = await openTestRelay({ targets: [`SERIAL:${name},log=${log}`] })
    await using port = await openFakePort()
    await symlink(port.path, name)
    await until('it is logged', () => {
      port.far.write('hello\n')
      return lines(log).includes('@ hello')
    })
    expect(running.relay.state.name).toBe('ready')
  })

  test('of what is no port, or cannot be set so, keeps the relay from listening, and says why', async () => {
    await using scratch = await openScratch()
    await using port = await openFakePort()
    const log = join(scratch.path, 'console.log')
    for (const [target, message] of [
      [`SERIAL:/dev/null,log=${log}`, /it is no serial port/],
      [`SERIAL:${scratch.path},log=${log}`, /it is no serial port/],
      [`SERIAL:${port.path},parity=even,log=${log}`, /does not keep `parity=even`/],
    ] as const) {
      await using running = startRelay({ targets: [target] })
      const error = await until('it is rejected', () => {
        const { state } = running.relay
        return state.name === 'rejected' ? state.error : undefined
      })
      expect(error.message).toMatch(message)
    }
    expect(heldPort(rdev(port.path))).toBeUndefined()
  })

  test('that cannot be written keeps the relay from listening, and says why', async () => {
    await using port = await openFakePort()
    await using running = startRelay({ targets: [`SERIAL:${port.path},log=/proc/nowhere/x.log`] })
    const error = await until('it is rejected', () => {
      const { state } = running.relay
      return state.name === 'rejected' ? state.error : undefined
    })
    expect(error.message).toContain('log /proc/nowhere/x.log')
    expect(heldPort(rdev(port.path))).toBeUndefined()
  })
})

describe('through the program', () => {
  needing('cc')('control lines, framing and break reach the device', async () => {
    await using lines = await openFakeLines()
    await using port = await openLoop()
    const line = lines.add(port.path)
    await using running = await startProgram(
      [launcher, 'socat', '-u', `SERIAL:${port.path},data=7,parity=even,baud=19200,rts=0,hupcl`, 'STDOUT'],
      { env: lines.env },
    )
    await until('it is open', () => line.dtr && !line.rts)
    await until('it is set', () => lines.log().some(({ what }) => what.includes('data=7 parity=even')))
    running.kill('SIGTERM')
    await running.ended
    expect(line).toMatchObject({ dtr: false, rts: false })
  })
})

function spawnStty(path: string): string {
  return spawnSync('stty', ['-F', path, '-a'], { encoding: 'utf8' }).stdout
}

function rdev(path: string): number {
  return statSync(path).rdev
}
