import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { bindTarget } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { freePort } from '#test/resources/ports.ts'
import { type Program, run, startProgram } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { type FakePort, openLoop } from '#test/resources/serial/cables.ts'
import { type FakeLine, type FakeLines, openFakeLines } from '#test/resources/serial/lines.ts'
import { openServedLine } from '#test/resources/serial/served-line.ts'
import { startInTerminal } from '#test/resources/terminal-program.ts'
import { gather } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

/** The one that Debian's packages of Python belong to, whatever else is first in the path. */
const python = '/usr/bin/python3'
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
    expect(JSON.parse(stdout)).toEqual({
      bytes: true,
      baudrate: [300, 115_200, 250_000, 0xffff],
      bytesize: [7, 8],
      parity: ['E', 'O', 'M', 'S', 'N'],
      stopbits: [2, 1],
      rtscts: [true, false],
      xonxoff: [true, false],
      'cts False': true,
      'cts True': true,
      'dsr False': true,
      'dsr True': true,
      'cd False': true,
      'cd True': true,
      ri: false,
      forgotten: 0,
      refused: expect.stringContaining('stopsize'),
      after: 'still here',
      reopened: 'again',
    })
    const log = served.lines.log().map(({ what }) => what)
    expect(log.filter(what => /^break/.test(what))).toEqual([
      'break on',
      'break off',
      'break on',
      'break off',
    ])
    expect(log).toContain('flush rx')
    expect(log).toContain('flush tx')
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
})

/** A serial line that another program serves, and its own words for it. */
interface ForeignPort extends AsyncDisposable {
  readonly port: number
  readonly device: FakePort
  readonly line: FakeLine
  readonly lines: FakeLines
}

async function openForeign(
  start: (device: FakePort, env: Record<string, string>) => Promise<{ program: Program; port: number }>,
): Promise<ForeignPort> {
  await using opening = new AsyncDisposableStack()
  const lines = opening.use(await openFakeLines())
  const device = opening.use(await openLoop())
  const line = lines.add(device.path, 'loopback')
  const { program, port } = await start(device, lines.env)
  opening.use(program)
  const held = opening.move()
  return { port, device, line, lines, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const ser2net = () =>
  openForeign(async ({ path }, env) => {
    const scratch = await openScratch()
    const port = await freePort()
    const file = join(scratch.path, 'ser2net.yaml')
    const accepter = `telnet(rfc2217),tcp,127.0.0.1,${port}`
    await writeFile(
      file,
      `%YAML 1.1\n---\nconnection: &lab\n  accepter: ${accepter}\n  connector: serialdev,${path},9600n81,local\n`,
    )
    const program = startProgram(['ser2net', '-n', '-d', '-c', file], { env })
    const dispose = async () => {
      await program[Symbol.asyncDispose]()
      await scratch[Symbol.asyncDispose]()
    }
    return { program: { ...program, [Symbol.asyncDispose]: dispose }, port }
  })

const pyserial = () =>
  openForeign(async ({ path }, env) => {
    const program = startProgram([python, '-W', 'ignore', script('pyserial-server.py'), path], { env })
    const [, port] = await program.says(/listening on (\d+)/)
    return { program, port: Number(port) }
  })

describe('a real server', () => {
  for (const [name, open, needs, patience] of [
    ['ser2net', ser2net, ['cc', 'ser2net'], ',retry=50,interval=0.1'],
    ["pyserial's", pyserial, ['cc', python, 'pyserial-ports'], ''],
  ] as const) {
    needing(...needs)(`${name} is a target, with its settings, lines and breaks`, async () => {
      await using foreign = await open()
      const { line, lines, device, port } = foreign
      const target = bindTarget(`RFC2217:127.0.0.1:${port},baud=115200,data=7,parity=even,stop=2${patience}`)
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
