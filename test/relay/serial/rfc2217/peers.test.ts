import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { bindTarget } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openPyserial, openSer2net, python } from '#test/resources/serial/foreign-port.ts'
import type { FakeLines } from '#test/resources/serial/lines.ts'
import { expectAllOfPyserial } from '#test/resources/serial/pyserial.ts'
import { openServedLine } from '#test/resources/serial/served-line.ts'
import { startInTerminal } from '#test/resources/terminal-program.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

const script = (name: string) => join(import.meta.dirname, '../../programs', name)

const speed = (path: string, lines: FakeLines) =>
  spawnSync('stty', ['-F', path, '-a'], { env: { ...process.env, ...lines.env }, encoding: 'utf8' }).stdout

describe('a real client', () => {
  needing(
    'cc',
    python,
    'pyserial-ports',
  )('pyserial can do all that it can do', async () => {
    await using served = await openServedLine()
    const { stdout, stderr } = await run([
      python,
      '-W',
      'ignore',
      script('pyserial-client.py'),
      String(served.port),
    ])
    expect(stderr).toBe('')
    expectAllOfPyserial(stdout, served.lines)
  })

  needing(
    'cc',
    python,
    'pyserial-ports',
  )('pyserial opens a port without wires, is refused what would move them, and goes on', async () => {
    await using served = await openServedLine('none')
    served.device.far.pipe(served.device.far)
    const url = `rfc2217://127.0.0.1:${served.port}`
    const words = `
import serial
port = serial.serial_for_url('${url}', 115200, timeout=5)
for name, value in (('dtr', False), ('break_condition', True)):
    try:
        setattr(port, name, value)
    except ValueError as error:
        print(error)
port.write(b'hello')
print(port.read(5), port.baudrate, port.cts)
port.close()
`
    const refused = "remote rejected value for option 'control'\n"
    expect(await run([python, '-W', 'ignore', '-c', words])).toMatchObject({
      stdout: `${refused}${refused}b'hello' 115200 True\n`,
      stderr: '',
    })
  })

  needing('cc', 'gensiot')('gensiot hears who serves, sets the speed and sends a break', async () => {
    await using served = await openServedLine()
    const server = `telnet(rfc2217),tcp,127.0.0.1,${served.port}`
    await using gensiot = await startInTerminal(['gensiot', server])
    await until('it has the terminal', () => gensiot.isRaw())
    gensiot.type('hello\n')
    await gensiot.shows(/hello/)
    gensiot.type('\x1cs')
    await gensiot.shows(/</)
    gensiot.type('19200\r')
    await until('the speed is set', () => /speed 19200/.test(speed(served.device.path, served.lines)))
    gensiot.type('\x1ce')
    await until('the parity is set', () => /parenb -parodd/.test(speed(served.device.path, served.lines)))
    gensiot.type('\x1cd')
    await gensiot.shows(/Signature: fleetcat[\s\S]*19200E81/)
    gensiot.type('\x1cb')
    await until('there was a break', () => served.lines.log().some(({ what }) => what === 'break off'))
  })

  needing('cc', 'microcom')('microcom types, sets the speed and sends a break', async () => {
    await using served = await openServedLine()
    const words = ['microcom', '-t', `127.0.0.1:${served.port}`, '-s', '57600']
    await using microcom = await startInTerminal(words, { size: { rows: 24, columns: 80 } })
    await microcom.shows(/Escape character/)
    await until('the speed is set', () => /speed 57600/.test(speed(served.device.path, served.lines)))
    // It refuses binary, and hears its line ends as a network terminal does: a NUL follows each return that stands alone.
    microcom.type('one\rtwo\r\nthree')
    await microcom.shows(/one\r\0two\r+\nthree/)
    microcom.type('\x1c')
    await microcom.shows(/-> $/)
    microcom.type('speed 19200\r')
    await until('the speed is set', () => /speed 19200/.test(speed(served.device.path, served.lines)))
    microcom.type('break\r')
    await until('there was a break', () => served.lines.log().some(({ what }) => what === 'break off'))
  })

  needing('cc', 'kermit')('C-Kermit types, sets the line, hears of its wires and sends a break', async () => {
    await using served = await openServedLine()
    const { path } = served.device
    const begin = `set host 127.0.0.1 ${served.port} /telnet, set flow none, set speed 57600, connect`
    await using kermit = await startInTerminal(['kermit', '-Y', '-C', begin], {
      size: { rows: 50, columns: 160 },
    })
    await kermit.shows(/-----\r\n$/)
    await until('the speed is set', () => /speed 57600/.test(speed(path, served.lines)))
    kermit.type('one\rtwo')
    await kermit.shows(/one\rtwo$/)
    kermit.type('\x1cb')
    await until('there was a break', () => served.lines.log().some(({ what }) => what === 'break off'))
    kermit.type('\x1cc')
    await kermit.shows(/Back at[\s\S]*C-Kermit>$/)
    kermit.type('set speed 19200\r')
    await until('the speed is set', () => /speed 19200/.test(speed(path, served.lines)))
    kermit.type('set parity even\r')
    await until('the parity is set', () => /parenb -parodd.* cs7/s.test(speed(path, served.lines)))
    kermit.type('show communications\r')
    await kermit.shows(/Signature *: fleetcat\s*Speed *: 19200[\s\S]*CTS Signal On[\s\S]*CD\) Signal On/)
  })
})

describe('a real server', () => {
  for (const [name, open, needs] of [
    ['ser2net', openSer2net, ['cc', 'ser2net']],
    ["pyserial's", openPyserial, ['cc', python, 'pyserial-ports']],
  ] as const) {
    needing(...needs)(`${name} is a target, with its settings, lines and breaks`, async () => {
      await using foreign = await open()
      const { line, lines, device, port } = foreign
      const target = bindTarget(`RFC2217:127.0.0.1:${port},baud=115200,data=7,parity=even,stop=2`)
      await using channel = await target.dialer!.dial(openContext())
      const { serial, stream } = channel
      expect(serial!.settings).toEqual({ baud: 115_200, data: 7, parity: 'even', stop: 2, flow: 'none' })
      expect(speed(device.path, lines)).toMatch(/speed 115200.*parenb -parodd.*cs7.* cstopb/s)

      await serial!.set({ data: 8, parity: 'none', stop: 1 })
      const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
      stream.write(all)
      expect(await gather(stream, 256)).toEqual(all)

      expect(await serial!.setControl({ dtr: true, rts: true })).toBe(true)
      await until('its lines are told', async () => (await serial!.modem())?.cts)
      expect(await serial!.setControl({ rts: false })).toBe(true)
      expect(line).toMatchObject({ dtr: true, rts: false })
      await until('so is the change', async () => (await serial!.modem())?.cts === false)

      expect(await serial!.setBreak(true)).toBe(true)
      await until('the break is on', () => line.breaking)
      expect(await serial!.setBreak(false)).toBe(true)
      await until('the break is over', () => !line.breaking)
      await serial!.purge('both')
      stream.write('still here')
      expect(String(await gather(stream, 10))).toBe('still here')
    })
  }
})
