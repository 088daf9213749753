import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openPort, type PortOptions } from '#relay/serial/open-port.ts'
import type { LineSettings } from '#relay/serial/port.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { startProgram } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openCable, openFakePort, openLoop } from '#test/resources/serial/cables.ts'
import { openDriven } from '#test/resources/serial/driver.ts'
import { openFakeLines } from '#test/resources/serial/lines.ts'
import { destroyed, gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

const open = (path: string, options: Partial<PortOptions> = {}) =>
  openPort(path, { holder: 'a test', ...options }, openContext())

const plain = { baud: 9_600, data: 8, parity: 'none', stop: 1, flow: 'none' }

describe('bytes', () => {
  test('all of them pass as they are, both ways', async () => {
    await using cable = await openCable()
    await using a = await open(cable.a.path, { settings: { baud: 115_200 } })
    await using b = await open(cable.b.path, { settings: { baud: 115_200 } })
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    a.stream.write(all)
    expect(await gather(b.stream, 256)).toEqual(all)
    b.stream.write(all)
    expect(await gather(a.stream, 256)).toEqual(all)
  })

  test('none is lost when the reader takes its time', async () => {
    await using cable = await openCable()
    await using a = await open(cable.a.path)
    await using b = await open(cable.b.path)
    const sent = Buffer.alloc(300_000, 'abcdefghijklmnopqrstuvwxyz')
    a.stream.write(sent)
    const received: Buffer[] = []
    let length = 0
    while (length < sent.length) {
      const chunk: Buffer | null = b.stream.read()
      if (chunk) {
        received.push(chunk)
        length += chunk.length
      }
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(Buffer.concat(received).equals(sent)).toBe(true)
  })

  needing('socat')('socat is at the other end', async () => {
    await using cable = await openCable()
    await using a = await open(cable.a.path)
    const socat = spawn('socat', [`FILE:${cable.b.path},rawer,b9600`, 'EXEC:cat'])
    const exited = once(socat, 'exit')
    a.stream.write('hello')
    expect((await gather(a.stream, 5)).toString()).toBe('hello')
    socat.kill()
    await exited
  })
})

describe('settings', () => {
  test('are those of the device, but for what is wanted', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path, { settings: { stop: 2 } })
    expect(opened.settings).toEqual({ ...plain, stop: 2 })
  })

  test('any speed can be set, and what the device then has is answered', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    expect(await opened.set({ baud: 250_000, flow: 'rtscts' })).toEqual({
      ...plain,
      baud: 250_000,
      flow: 'rtscts',
    })
    expect(await opened.set({ baud: 31_250, flow: 'xonxoff' })).toMatchObject({
      baud: 31_250,
      flow: 'xonxoff',
    })
    expect(await opened.set({ baud: 115_200, flow: 'none' })).toEqual({ ...plain, baud: 115_200 })
  })

  test('what the device does not keep is answered when it is changed, and refused when it is opened', async () => {
    await using port = await openFakePort()
    {
      await using opened = await open(port.path)
      expect(await opened.set({ parity: 'even' })).toEqual(plain)
    }
    await expect(open(port.path, { settings: { parity: 'even' } })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('does not keep `parity=even`'),
    })
  })

  test('go back to what they were on closing', async () => {
    await using port = await openFakePort()
    const stty = () => spawnSync('stty', ['-F', port.path, '-a'], { encoding: 'utf8' }).stdout
    spawnSync('stty', ['-F', port.path, 'sane', '4800', '-hupcl'])
    const before = stty()
    {
      await using opened = await open(port.path, { settings: { baud: 115_200, flow: 'rtscts', stop: 2 } })
      expect(stty()).toContain('115200')
      await opened.set({ baud: 230_400 })
    }
    expect(stty()).toBe(before)
    await expect(open(port.path, { settings: { baud: 19_200, parity: 'odd' } })).rejects.toThrow('parity=odd')
    expect(stty()).toBe(before)
  })

  const bad: [object, RegExp][] = [
    [{ baud: 0 }, /cannot have `0` baud/],
    [{ baud: -9600 }, /`-9600` baud/],
    [{ baud: 1.5 }, /`1.5` baud/],
    [{ baud: Number.NaN }, /`NaN` baud/],
    [{ baud: 4_294_967_296 }, /baud/],
    [{ data: 9 }, /data cannot be `9`. Write one of 5, 6, 7, 8/],
    [{ parity: 'bogus' }, /parity cannot be `bogus`/],
    [{ parity: 'evn' }, /Did you mean `even`/],
    [{ stop: 3 }, /stop cannot be `3`/],
    [{ stop: 1.5 }, /1.5 stop bits go with 5 data bits only/],
    [{ stop: 1.5, data: 8 }, /1.5 stop bits go with 5 data bits only/],
    [{ stop: 2, data: 5 }, /2 stop bits do not go with 5 data bits/],
    [{ flow: 'rtcts' }, /Did you mean `rtscts`/],
  ]
  test.each(bad)('%j is refused before the port is touched', async (settings, message) => {
    await using port = await openFakePort()
    await expect(open(port.path, { settings: settings as LineSettings })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(message),
    })
    await using opened = await open(port.path)
    await expect(opened.set(settings as LineSettings)).rejects.toThrow(message)
    expect(opened.settings).toEqual(plain)
  })
})

describe('a device without modem lines', () => {
  test('says so and goes on', async () => {
    await using port = await openLoop()
    await using opened = await open(port.path, { control: { dtr: false } })
    expect(await opened.setControl({ rts: true })).toBe(false)
    expect(await opened.modem()).toBeUndefined()
    expect(await opened.setBreak(true)).toBe(false)
    expect(await opened.counters()).toBeUndefined()
    const stop = opened.onModem(() => {})
    opened.stream.write('x')
    expect((await gather(opened.stream, 1)).toString()).toBe('x')
    stop()
  })
})

describe('purging', () => {
  test('forgets what was written and not sent', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    port.far.pause()
    opened.stream.write(Buffer.alloc(200_000, 'old'))
    await until('the kernel takes no more', () => opened.stream.writableLength > 100_000)
    await opened.purge('tx')
    opened.stream.write('new')
    let seen = ''
    port.far.on('data', bytes => {
      seen += bytes
    })
    port.far.resume()
    await until('the new bytes come', () => seen.endsWith('new'))
    // What was in the far side's hands already is nobody's here.
    expect(seen.length).toBeLessThan(140_000)
    expect(opened.stream.writableLength).toBe(0)
  })

  test('forgets what was received and not read', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    port.far.write('old')
    await until('it has come', () => opened.stream.readableLength === 3 || opened.stream.read(0) !== null)
    await opened.purge('rx')
    port.far.write('new')
    expect((await gather(opened.stream, 3)).toString()).toBe('new')
  })

  test('hands nothing that it forgets to whoever listens and has paused', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    let seen = ''
    opened.stream.on('data', bytes => {
      seen += bytes
    })
    opened.stream.pause()
    port.far.write('old')
    await until('it has come', () => opened.stream.readableLength === 3)
    await opened.purge('both')
    port.far.write('new')
    opened.stream.resume()
    await until('the new bytes come', () => seen.length >= 3)
    expect(seen).toBe('new')
  })
})

describe('a hang-up', () => {
  const gone = { name: 'RelayError', code: 'reset', message: expect.stringContaining('the device has gone') }
  const ending = async (stream: NodeJS.EventEmitter) => {
    const events: string[] = []
    let error: unknown
    stream.on('error', thrown => {
      events.push('error')
      error = thrown
    })
    await new Promise<void>(resolve => stream.once('close', () => resolve()))
    return { events, error }
  }

  test('of a flowing port ends in an error, and then close', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    opened.stream.resume()
    const ended = ending(opened.stream)
    await port.unplug()
    expect(await ended).toEqual({ events: ['error'], error: expect.objectContaining(gone) })
  })

  test('of a paused port is noticed too, and spins no core', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    opened.stream.on('data', () => {})
    opened.stream.pause()
    port.far.write(Buffer.alloc(20_000))
    await until('it has enough', () => opened.stream.readableLength >= 4_096)
    const ended = ending(opened.stream)
    const before = process.cpuUsage()
    await port.unplug()
    expect(await ended).toEqual({ events: ['error'], error: expect.objectContaining(gone) })
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1_000).toBeLessThan(600)
    await expect(opened.set({ baud: 300 })).rejects.toMatchObject({ code: 'reset' })
    expect(opened.settings).toEqual(plain)
  })

  test('in the middle of a write is an error, and the write waits for nobody', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    port.far.pause()
    const ended = ending(opened.stream)
    const written = new Promise<void>(resolve => opened.stream.write(Buffer.alloc(500_000), () => resolve()))
    await until('the kernel takes no more', () => opened.stream.writableLength > 100_000)
    await port.unplug()
    await written
    expect(await ended).toEqual({ events: ['error'], error: expect.objectContaining(gone) })
  })

  test('comes after all that was received before', async () => {
    await using port = await openFakePort()
    await using opened = await open(port.path)
    await new Promise<void>(resolve => port.far.write('last words', () => resolve()))
    await until('they have come', () => opened.stream.readableLength === 10 || opened.stream.read(0))
    const ended = ending(opened.stream)
    await port.unplug()
    expect((await gather(opened.stream, 10)).toString()).toBe('last words')
    expect(await ended).toEqual({ events: ['error'], error: expect.objectContaining(gone) })
  })

  test('lets the port be opened again', async () => {
    await using port = await openFakePort()
    const opened = await open(port.path)
    await port.unplug()
    await until('it has gone', () => opened.stream.destroyed)
    await opened[Symbol.asyncDispose]()
    await expect(open(port.path)).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('closing', () => {
  test('waits for nobody who does not read', async () => {
    await using port = await openFakePort()
    const opened = await open(port.path)
    port.far.pause()
    opened.stream.write(Buffer.alloc(500_000))
    await until('the kernel takes no more', () => opened.stream.writableLength > 100_000)
    const began = performance.now()
    await opened[Symbol.asyncDispose]()
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  test('leaves what was sent to whoever reads it later', async () => {
    await using device = await openFakePort()
    const port = await open(device.path)
    await new Promise(resolve => port.stream.write('last words', resolve))
    await port[Symbol.asyncDispose]()
    expect(String(await gather(device.far, 10))).toBe('last words')
  })

  test('is done once, however often it is asked for', async () => {
    await using port = await openFakePort()
    const opened = await open(port.path)
    await Promise.all([opened[Symbol.asyncDispose](), opened[Symbol.asyncDispose]()])
    await expect(opened.set({ baud: 300 })).rejects.toMatchObject({ code: 'closed' })
    await using again = await open(port.path)
    expect(again.settings).toEqual(plain)
  })

  test('a stream that is destroyed leaves the port to be closed', async () => {
    await using port = await openFakePort()
    {
      await using opened = await open(port.path)
      await destroyed(opened.stream)
    }
    await using again = await open(port.path)
    expect(again.path).toBe(port.path)
  })
})

describe('who opens a port that is in use', () => {
  test('is told by whom in this process, before anything is touched', async () => {
    await using port = await openFakePort()
    await using first = await open(port.path, { holder: 'relay lab', settings: { baud: 4_800 } })
    await using scratch = await openScratch()
    const alias = join(scratch.path, 'console')
    spawnSync('ln', ['-s', port.path, alias])
    for (const [path, as] of [
      [port.path, ''],
      [alias, `, as ${port.path}`],
    ] as const) {
      await expect(open(path, { settings: { baud: 300 } })).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining(`in use by relay lab${as}. `),
      })
    }
    expect(first.settings.baud).toBe(4_800)
  })

  test('is told which program has it locked, whose settings stay', async () => {
    await using port = await openFakePort()
    await using other = await openDriven(port.path, { settings: { baud: 4_800 }, lockDirectory: '/nowhere' })
    await expect(open(port.path, { settings: { baud: 300 } })).rejects.toMatchObject({
      code: 'conflict',
      // A test beside this one may have had a terminal of this number, and not have let go of it yet.
      message: expect.stringMatching(new RegExp(`in use by .*node \\(pid ${other.pid}\\)`)),
    })
    expect(await other.call('settings')).toEqual({ ...plain, baud: 4_800 })
  })

  test('is told which program has a lock file', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    await using other = await openDriven(port.path, { lockDirectory: scratch.path })
    await expect(open(port.path, { lockDirectory: scratch.path })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(new RegExp(`in use by node \\(pid ${other.pid}\\), as .*LCK\\.\\.pts_`)),
    })
  })
})

describe('lock files', () => {
  const nameOf = (path: string) => `LCK..pts_${basename(path)}`

  test('are there with our number while the port is open, and gone afterwards', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const file = join(scratch.path, nameOf(port.path))
    {
      await using _opened = await open(port.path, { lockDirectory: scratch.path })
      expect(readFileSync(file, 'utf8')).toBe(`${String(process.pid).padStart(10)}\n`)
    }
    expect(existsSync(file)).toBe(false)
  })

  test('of a process that was killed are replaced, and nothing else of it is left', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const other = await openDriven(port.path, { lockDirectory: scratch.path })
    await other.kill()
    expect(existsSync(join(scratch.path, nameOf(port.path)))).toBe(true)
    await using opened = await open(port.path, { lockDirectory: scratch.path })
    expect(opened.settings.data).toBe(8)
  })

  test('of a process that has ended, which its parent has not noticed, are replaced', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    await using parent = startProgram(['sh', '-c', 'true & echo $!.; exec sleep 1000'])
    const pid = Number((await parent.says(/^(\d+)\./))[1])
    await until('it has ended', () => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')))
    writeFileSync(join(scratch.path, nameOf(port.path)), `${String(pid).padStart(10)}\n`)
    await using opened = await open(port.path, { lockDirectory: scratch.path })
    expect(opened.path).toBe(port.path)
  })

  test.each([
    ['nothing in it', ''],
    ['no number in it', 'minicom\n'],
    ['a number that no process has', '   4194999\n'],
    ['the number of this process, which does not have the port', `${process.pid}\n`],
    ['minus one in it', '-1\n'],
  ])('with %s are replaced', async (_, text) => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    writeFileSync(join(scratch.path, nameOf(port.path)), text)
    await using opened = await open(port.path, { lockDirectory: scratch.path })
    expect(opened.path).toBe(port.path)
  })

  needing('root')(
    'of another user, that he has left behind and nobody else can remove, keep nobody out',
    async () => {
      await using port = await openFakePort()
      await using scratch = await openScratch()
      chmodSync(scratch.path, 0o1777)
      chmodSync(port.path, 0o666)
      writeFileSync(join(scratch.path, nameOf(port.path)), '   4194999\n')
      const options = { lockDirectory: scratch.path }
      await using driven = await openDriven(port.path, options, {}, { uid: 65_534, gid: 65_534 })
      expect(driven.opened.data).toBe(8)
    },
  )

  test.each(['pipe', 'link'])('that are a %s and no file make nobody wait', async kind => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const file = join(scratch.path, nameOf(port.path))
    if (kind === 'pipe') spawnSync('mkfifo', [file])
    else symlinkSync('/proc/self/stat', file)
    await using opened = await open(port.path, { lockDirectory: scratch.path })
    expect(opened.settings.data).toBe(8)
  })

  test('that are written in binary are understood', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const number = Buffer.alloc(4)
    number.writeInt32LE(process.ppid)
    writeFileSync(join(scratch.path, nameOf(port.path)), number)
    await expect(open(port.path, { lockDirectory: scratch.path })).rejects.toThrow(`pid ${process.ppid}`)
  })
})

describe('programs that ask for no lock', () => {
  const nobody = { uid: 65_534, gid: 65_534, encoding: 'utf8' } as const
  /** What a shell says that opens it and closes it again. */
  const opening = (path: string) => spawnSync('sh', ['-c', `: <>${path}`], nobody).stderr

  needing('cc', 'root')('cannot open a port either, unless they are the superuser', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    lines.add(port.path)
    chmodSync(port.path, 0o666)
    expect(opening(port.path)).toBe('')
    await using driven = await openDriven(port.path, {}, lines.env)
    expect(opening(port.path)).toMatch(/busy/i)
    await driven.call('close')
    expect(opening(port.path)).toBe('')
  })

  needing('root')('are not kept from a pseudo-terminal by a process that was killed', async () => {
    await using port = await openFakePort()
    chmodSync(port.path, 0o666)
    const driven = await openDriven(port.path)
    await driven.kill()
    expect(opening(port.path)).toBe('')
    await using again = await openDriven(port.path, {}, {}, nobody)
    expect(again.opened.data).toBe(8)
  })
})

describe('what is no port', () => {
  test('is refused without being opened', async () => {
    await using scratch = await openScratch()
    const file = join(scratch.path, 'file')
    writeFileSync(file, '')
    const pipe = join(scratch.path, 'pipe')
    spawnSync('mkfifo', [pipe])
    for (const path of [file, pipe, scratch.path, '/dev/null', '/dev/zero']) {
      await expect(open(path)).rejects.toMatchObject({
        code: 'usage',
        message: expect.stringContaining('it is no serial port'),
      })
    }
  })

  test('is not found, and the ports that there are are named', async () => {
    await expect(open('/dev/ttyUSB77')).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringMatching(/no such port\. (It has|This host has no serial ports)/),
    })
  })

  needing('root')('is refused with the group that may open it', async () => {
    await using port = await openFakePort()
    const dialout = Number(/^dialout:[^:]*:(\d+):/m.exec(readFileSync('/etc/group', 'utf8'))![1])
    chownSync(port.path, 0, dialout)
    chmodSync(port.path, 0o660)
    await expect(openDriven(port.path, {}, {}, { uid: 65_534, gid: 65_534 })).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('`usermod -aG dialout nobody`'),
    })
    await using driven = await openDriven(port.path, {}, {}, { uid: 65_534, gid: dialout })
    expect(driven.opened.data).toBe(8)
  })

  test('is not asked for when the ceiling says no', async () => {
    await using port = await openFakePort()
    const egress = {
      check() {
        throw new Error('forbidden')
      },
    }
    await expect(openPort(port.path, { holder: 'a test' }, openContext({ egress }))).rejects.toThrow(
      'forbidden',
    )
  })
})

const withLines = needing('cc')

describe('a device with modem lines', () => {
  withLines('has them, and tells when they change', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    const line = lines.add(port.path)
    line.input({ cts: true, dcd: true })
    await using driven = await openDriven(port.path, {}, lines.env)
    expect(await driven.call('modem')).toEqual({ cts: true, dsr: false, ri: false, dcd: true })
    await driven.call('watch')
    await until('the first look is over', async () => {
      line.input({ ri: true })
      await driven.call('modem')
      line.input({ ri: false })
      return (await driven.call('changes')).length > 0
    })
    await driven.call('unwatch')
  })

  withLines('control lines: each is changed alone, and a break has its length', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    const line = lines.add(port.path)
    await using driven = await openDriven(port.path, { control: { rts: false } }, lines.env)
    expect(line).toMatchObject({ dtr: true, rts: false })
    expect(await driven.call('setBreak', true)).toBe(true)
    expect(await driven.call('setControl', { dtr: false })).toBe(true)
    expect(line).toMatchObject({ dtr: false, rts: false, breaking: true })
    expect(await driven.call('setBreak', false)).toBe(true)
    expect(line.breaking).toBe(false)
    await driven.call('setControl', { dtr: true, rts: true })
    expect(line).toMatchObject({ dtr: true, rts: true })
  })

  withLines('keeps every framing', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    lines.add(port.path)
    await using driven = await openDriven(port.path, { settings: { data: 7, parity: 'even' } }, lines.env)
    expect(driven.opened).toEqual({ ...plain, data: 7, parity: 'even' })
    for (const parity of ['odd', 'mark', 'space', 'none', 'even'] as const) {
      expect(await driven.call('set', { parity })).toMatchObject({ parity })
    }
    expect(await driven.call('set', { data: 5, stop: 1.5 })).toMatchObject({ data: 5, stop: 1.5 })
  })

  withLines('that takes no such speed is refused, with what it does, and left as it was', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    const line = lines.add(port.path)
    for (const [manner, message] of [
      ['next best', /does not keep `baud=(250000|921600)`/],
      ['refused', /does not take (`baud=(250000|921600)`|these settings)/],
    ] as const) {
      line.limit(115_200, manner)
      for (const baud of [250_000, 921_600]) {
        await expect(openDriven(port.path, { settings: { baud } }, lines.env)).rejects.toMatchObject({
          code: 'unsupported',
          message: expect.stringMatching(message),
        })
      }
      // So near to what it can be is as good.
      await using driven = await openDriven(port.path, { settings: { baud: 9_601 } }, lines.env)
      expect(driven.opened.baud).toBeGreaterThan(9_500)
      const change = driven.call('set', { baud: 250_000 })
      if (manner === 'refused') await expect(change).rejects.toThrow(message)
      else expect(await change).toMatchObject({ baud: 115_200 })
      await driven.call('close')
      expect(spawnSync('stty', ['-F', port.path, 'speed'], { encoding: 'utf8' }).stdout).toBe('9600\n')
    }
  })

  withLines('is not touched by a change that changes nothing', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    lines.add(port.path)
    await using driven = await openDriven(port.path, { settings: { baud: 9_600 } }, lines.env)
    const before = lines.log().length
    await driven.call('set', { baud: 9_600, data: 8, parity: 'none', stop: 1, flow: 'none' })
    expect(lines.log().slice(before)).toEqual([])
  })

  withLines('leaves its control lines as they are on closing, unless it is to hang up', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    const line = lines.add(port.path)
    spawnSync('stty', ['-F', port.path, 'hupcl'], { env: { ...process.env, ...lines.env } })
    for (const hangUp of [false, true]) {
      await using driven = await openDriven(port.path, { hangUp }, lines.env)
      expect(line).toMatchObject({ dtr: true, rts: true })
      await driven.call('close')
      expect(line).toMatchObject({ dtr: !hangUp, rts: !hangUp })
    }
  })

  withLines('counts the errors of its line', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    const line = lines.add(port.path)
    line.count({ frame: 1, overrun: 2, parity: 3, breaks: 4 })
    await using driven = await openDriven(port.path, {}, lines.env)
    expect(await driven.call('counters')).toEqual({ frame: 1, overrun: 2, parity: 3, breaks: 4 })
  })

  withLines('is purged one way at a time', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    lines.add(port.path)
    await using driven = await openDriven(port.path, {}, lines.env)
    for (const which of ['rx', 'tx', 'both'] as const) {
      const before = lines.log().length
      await driven.call('purge', which)
      const seen = lines
        .log()
        .slice(before)
        .map(({ what }) => what)
      expect(seen).toEqual(which === 'both' ? ['flush rx', 'flush tx'] : [`flush ${which}`])
    }
  })

  withLines('is closed although what was written is never sent', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    const line = lines.add(port.path)
    await using driven = await openDriven(port.path, {}, lines.env)
    line.stick(100)
    const began = performance.now()
    await driven.call('close')
    expect(performance.now() - began).toBeLessThan(3_000)
    expect(lines.log().map(({ what }) => what)).toContain('flush tx')
  })

  withLines('is closed without a flush when all is sent: other sides may have yet to read it', async () => {
    await using lines = await openFakeLines()
    await using port = await openFakePort()
    lines.add(port.path)
    await using driven = await openDriven(port.path, {}, lines.env)
    const before = lines.log().length
    await driven.call('write', 'last words')
    await driven.call('close')
    const seen = lines.log().slice(before)
    expect(seen.map(({ what }) => what).filter(what => /flush/.test(what))).toEqual([])
    expect(String(await gather(port.far, 10))).toBe('last words')
  })
})
