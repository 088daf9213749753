import { existsSync } from 'node:fs'
import { mkdir, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { launcher, type Outcome } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { until } from '#test/resources/until.ts'
import { openLab } from './lab.ts'

const patience = 90_000
/** The one that Debian's python3-serial is for. */
const python = '/usr/bin/python3'

/** A place where this terminal is listed as what a USB adapter has. */
async function asUsbAdapter(port: string, folder: string): Promise<string[]> {
  const device = join(folder, port.slice('/dev/'.length).replace('/', '!'), 'device')
  await mkdir(device, { recursive: true })
  const facts = {
    idVendor: '0403',
    idProduct: '6001',
    serial: 'A50285BI',
    manufacturer: 'FTDI',
    product: 'FT232R',
  }
  for (const [name, text] of Object.entries(facts)) await writeFile(join(device, name), `${text}\n`)
  const mount = `mount --bind ${folder} /sys/class/tty && exec "$@"`
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, 'sh']
}

needing('cc', 'root', 'unshare')(
  'the ports of all hosts are in one table, with who uses them and which hosts did not answer',
  async () => {
    await using scratch = await openScratch()
    await using lab = await openLab({ within: port => asUsbAdapter(port, scratch.path) })
    await using ann = lab.start([launcher, 'console', lab.place, '--end-after', '1h'], {
      home: await lab.operator('ann'),
    })
    await ann.says(/you write/)
    lab.line.count({ frame: 3, overrun: 1 })
    const { items: ports } = await lab.fleet.json(['serial', 'list', '-l', '!lab'])
    expect(ports).toEqual([
      {
        kind: 'SerialPort',
        agent: 'lab-1',
        path: lab.port.path,
        names: [],
        driver: null,
        usb: { vendor: '0403', product: '6001', serial: 'A50285BI', manufacturer: 'FTDI', name: 'FT232R' },
        users: expect.arrayContaining([
          expect.objectContaining({ program: 'fleetcat', holder: expect.stringMatching(/operator\/ann$/) }),
        ]),
        errors: { frame: 3, overrun: 1, parity: 0, breaks: 0 },
        error: null,
      },
    ])
    const table = await lab.fleet.cat(['serial', 'list'])
    expect(table.stdout).toMatch(
      /^AGENT +PORT +DEVICE +SERIAL +USED-BY\nlab-1 +\/dev\/pts\/\d+ +FTDI FT232R +A50285BI .*operator\/ann.*\n$/,
    )
    const wide = await lab.fleet.cat(['serial', 'list', '-o', 'wide'])
    expect(wide.stdout).toMatch(/ERRORS.*\n.*3 framing, 1 overrun/)
    expect((await lab.fleet.cat(['serial', 'list', '-o', 'name'])).stdout).toBe(`${lab.place}\n`)

    await lab.fleet.startAgent('gone', { labels: { lab: 'oslo' } }).then(program => program.kill('SIGKILL'))
    const outcome = await until<Outcome | undefined>('it is missed', async () => {
      const asked = await lab.start([launcher, 'serial', 'list', '-o', 'json']).ended
      return asked.code === 6 ? asked : undefined
    })
    const { kind, items } = JSON.parse(outcome.stdout)
    expect(kind).toBe('SerialPortList')
    expect(items).toContainEqual(
      expect.objectContaining({ kind: 'SerialPort', agent: 'gone', path: null, error: expect.any(String) }),
    )
    expect(outcome.stderr).toMatch(/1 of 2 agents did not answer: gone/)
    const { code, stderr } = await lab.start([launcher, 'serial', 'list', '--agent', 'lab-11']).ended
    expect(`${code} ${stderr}`).toMatch(/^4 .*Did you mean lab-1\?/s)
  },
  patience,
)

needing('cc', 'socat', python)(
  'a program of this host uses a port of another by a link, and what it sets the port gets',
  async () => {
    await using lab = await openLab()
    const link = join(lab.fleet.folder, 'ttyLAB1')
    const pty = lab.start([launcher, 'serial', 'pty', lab.place, '--link', link])
    await pty.says(/ttyLAB1\n/)
    expect(await readlink(link)).toMatch(/^\/dev\/pts\/\d+$/)
    lab.port.far.on('data', bytes => {
      if (bytes.includes('\n')) lab.port.far.write('heard\n')
    })
    const script = `
import serial
port = serial.Serial('${link}', 57600, stopbits=2, timeout=10)
port.write(b'first\\n')
print(port.readline())
port.baudrate = 19200
port.write(b'second\\n')
print(port.readline())
`
    const { stdout, stderr } = await lab.start([python, '-c', script]).ended
    expect(stderr).toBe('')
    expect(stdout).toBe("b'heard\\n'\nb'heard\\n'\n")
    expect(lab.received()).toBe('first\nsecond\n')
    await pty.says(/is set to 57600 8N2\n(.|\n)*is set to 19200 8N2/)
    const socat = lab.start(['socat', '-t', '10', '-', `OPEN:${link},raw,echo=0,b38400`], {
      input: 'third\n',
    })
    await pty.says(/is set to 38400 8N/)
    await socat.says(/heard/)
    pty.kill('SIGTERM')
    expect(await pty.ended).toMatchObject({ code: 0 })
    expect(existsSync(link)).toBe(false)
  },
  patience,
)

needing('cc')(
  'a program gets a port to write to, or waits for that, or is not started',
  async () => {
    await using lab = await openLab()
    const words = [launcher, 'serial', 'run', lab.place]
    const program = ['--', 'sh', '-c', 'echo version > "$1"', 'sh', '{}']
    const ann = lab.start([launcher, 'console', lab.place, '--end-after', '1h'], {
      home: await lab.operator('ann'),
    })
    await ann.says(/you write/)
    const refused = await lab.start([...words, ...program]).ended
    expect(`${refused.code} ${refused.stderr}`).toMatch(/^5 .*operator\/ann writes\. --wait waits/s)
    const piped = await lab.start([launcher, 'console', lab.place], { input: 'lost?\r' }).ended
    expect(`${piped.code} ${piped.stderr}`).toMatch(/^5 .*operator\/ann writes/s)
    const waiting = lab.start([...words, '--wait', '5m', ...program])
    await waiting.says(/operator\/ann writes; waiting/)
    expect(lab.received()).toBe('')
    ann.kill('SIGTERM')
    expect(await waiting.ended).toMatchObject({ code: 0 })
    await until('the device has it', () => lab.received() === 'version\n')
  },
  patience,
)

needing('cc', 'tmux', 'picocom')(
  'picocom works on such a port as on one of its own host',
  async () => {
    await using lab = await openLab()
    const screen = await lab.screen()
    await screen.type(`fleetcat serial run ${lab.place} -- picocom -q -b 115200 {}; echo "ended with $?"`)
    await screen.press('Enter')
    await screen.shows(/is set to 115200 8N1/)
    await screen.type('hi')
    await until('the device has it', () => lab.received() === 'hi')
    lab.port.far.write('there\r\n')
    await screen.shows(/there/)
    await screen.press('C-a', 'C-x')
    await screen.shows(/ended with 0/)
  },
  patience,
)

needing('cc', python)(
  'a script gets the whole line by a URL, wires and parity too, and its exit code is passed on',
  async () => {
    await using lab = await openLab()
    const script = `
import serial, sys
port = serial.serial_for_url(sys.argv[1], 38400, bytesize=7, parity='E', timeout=10)
port.dtr = False
port.write(b'bytes \\xff\\n')
port.send_break(0.1)
print(port.cts, port.baudrate)
port.close()
sys.exit(41)
`
    const run = lab.start([launcher, 'serial', 'run', lab.place, '--', python, '-c', script, '{rfc2217}'])
    const { code, stdout, stderr } = await run.ended
    expect(stderr).toBe('')
    expect(stdout).toBe('False 38400\n')
    expect(code).toBe(41)
    await until('the device has it', () => lab.received() === 'bytes \xff\n')
    const asked = lab.lines.log().map(({ what }) => what)
    expect(asked).toContainEqual(expect.stringMatching(/^framing data=7 parity=even/))
    expect(asked).toContain('break on')
    expect(asked).toContainEqual(expect.stringMatching(/^lines dtr=0/))

    const reading = `
import serial, sys
port = serial.serial_for_url(sys.argv[1])
print('began', flush=True)
port.read()
`
    const stays = lab.start([launcher, 'serial', 'run', lab.place, '--', python, '-c', reading, '{rfc2217}'])
    await stays.says(/began/)
    const { items } = await lab.fleet.json(['connections'])
    await lab.fleet.cat(['revoke', `conn/${items[0].id}`, '--reason', 'no more'])
    const cut = await stays.ended
    expect(`${cut.code} ${cut.stderr}`).toMatch(/^3 .*no more/s)
  },
  patience,
)

needing('cc')(
  'a program that comes again and again has the port for as long as was asked for, and no longer',
  async () => {
    await using lab = await openLab()
    const comes = `
const { connect } = require('node:net')
const { hostname, port } = new URL(process.argv[1].replace('rfc2217', 'http'))
const come = () => {
  const socket = connect(port, hostname).on('error', () => 0).on('close', come).resume()
  setTimeout(() => socket.destroy(), 300)
}
come()
`
    const words = [process.execPath, '-e', comes, '{rfc2217}']
    const run = lab.start([launcher, 'serial', 'run', lab.place, '--ttl', '2s', '--', ...words])
    const { code, stderr } = await run.ended
    expect(`${code} ${stderr}`).toMatch(/^1 .*the time for which it was asked for is over/s)
  },
  patience,
)

needing('cc')(
  'what a program has written last arrives, and a program ends when its port is revoked',
  async () => {
    await using lab = await openLab()
    // Slow enough that its program has long ended when the device gets the rest.
    const slow = `@lab-1/SERIAL:${lab.port.path},char-delay=20ms`
    const writes = lab.start([
      launcher,
      'serial',
      'run',
      slow,
      '--',
      'sh',
      '-c',
      'echo last words >$0; exit 3',
      '{}',
    ])
    expect(await writes.ended).toMatchObject({ code: 3 })
    expect(lab.received()).toBe('last words\n')

    const stays = lab.start([
      launcher,
      'serial',
      'run',
      lab.place,
      '--',
      'sh',
      '-c',
      'echo began; exec cat <$0',
      '{}',
    ])
    await stays.says(/began/)
    const { items } = await lab.fleet.json(['connections'])
    await lab.fleet.cat(['revoke', `conn/${items[0].id}`, '--reason', 'no more'])
    const { code, stderr } = await stays.ended
    expect(`${code} ${stderr}`).toMatch(/^3 .*no more/s)

    const nothing = await lab.start([launcher, 'serial', 'run', lab.place, '--', 'no-such-program', '{}'])
      .ended
    expect(`${nothing.code} ${nothing.stderr}`).toMatch(/^4 .*no such program/s)
    const blind = await lab.start([launcher, 'serial', 'run', lab.place, '--', 'cat']).ended
    expect(`${blind.code} ${blind.stderr}`).toMatch(/^2 .*not told of the port.*\{\}/s)
  },
  patience,
)

needing('cc', python)(
  'what a port has said while a relay kept it is printed, searched and followed',
  async () => {
    await using lab = await openLab({ permit: ['SERIAL:/dev/pts/*', 'OPEN:/tmp/**,append,creat,wronly'] })
    const target = `SERIAL:${lab.port.path},share,log=${lab.fleet.folder}/port.log`
    await lab.fleet.cat([
      'create',
      'kept',
      '--on',
      'lab-1',
      'TCP4-LISTEN:0,bind=127.0.0.1,fork',
      target,
      '--wait',
    ])
    lab.port.far.write('boot ok\r\nkernel panic: süß\r\nmore\r\n')
    const log = (...words: string[]) => lab.start([launcher, 'serial', 'log', lab.place, ...words])
    await until('it is remembered', async () => /more/.test((await log().ended).stdout))
    expect(await log('--grep', 'panic.*süß').ended).toMatchObject({
      code: 0,
      stdout: 'kernel panic: süß\r\n',
    })
    const following = log('-f', '--grep', 'Oops')
    await until('it watches', async () => (await lab.fleet.json(['connections'])).items.length === 1)
    lab.port.far.write('nothing\r\nOops 1\r\n')
    await following.says(/Oops 1/)
    following.kill('SIGINT')
    expect(await following.ended).toMatchObject({ code: 130, stdout: 'Oops 1\r\n' })
    expect((await log('--grep', '(').ended).code).toBe(2)
  },
  patience,
)

needing('cc')(
  'the files of a log are printed with their times, searched, and followed while the agent comes back',
  async () => {
    await using lab = await openLab({
      permit: ['SERIAL:/dev/pts/*', 'OPEN:/tmp/**,append,creat,wronly', 'OPEN:/tmp/**,rdonly'],
    })
    const file = `${lab.fleet.folder}/port.log`
    const line = (agoMs: number, text: string) => `${new Date(Date.now() - agoMs).toISOString()} ${text}\n`
    await writeFile(`${file}.1`, line(90_000_000, 'Oops: yesterday') + line(80_000_000, 'calm'))
    const filler = line(70_000_000, 'x'.repeat(90)).repeat(20_000)
    await writeFile(file, filler + line(600_000, 'Oops: süß') + line(500_000, 'login: '))
    const log = (...words: string[]) => lab.start([launcher, 'serial', 'log', lab.place, ...words])
    for (const words of [[], ['-f']]) {
      const nothing = await log(...words).ended
      expect(`${nothing.code} ${nothing.stderr}`).toMatch(/^4 .*nobody has the port open/s)
    }
    expect(lab.lines.log()).toEqual([])
    const early = await log('--since', '1h').ended
    expect(`${early.code} ${early.stderr}`).toMatch(/^4 .*no relay of this host keeps a log.*log=/s)

    const target = `SERIAL:${lab.port.path},share,log=${file}`
    const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
    await lab.fleet.cat(['create', 'kept', '--on', 'lab-1', listen, target, '--wait'])
    const found = await log('--grep', '^Oops').ended
    expect(found.stderr).toBe('')
    expect(found.stdout).toMatch(/^\S+Z Oops: yesterday\n\S+Z Oops: süß\n$/)
    expect((await log('--grep', '^Oops', '--since', '1h').ended).stdout).toMatch(/^\S+Z Oops: süß\n$/)
    expect((await log('--since', '9m').ended).stdout).toMatch(/^\S+Z login: \n$/)
    const last = (await log().ended).stdout
    expect(last).toMatch(/login: \n$/)
    expect(last.length).toBeGreaterThan(65_000)
    expect(last.length).toBeLessThan(65_700)
    expect((await log('--last', '10m').ended).stdout.length).toBeGreaterThan(filler.length)

    const following = log('-f', '--since', '9m')
    await following.says(/login: /)
    lab.port.far.write('one\n')
    await following.says(/ one\n/)
    lab.agent.kill('SIGKILL')
    await following.says(/the log was lost/)
    await lab.startAgent()
    await following.says(/there again/)
    // The file is there sooner than the port is open.
    await until('it goes on', () => {
      lab.port.far.write('two\n')
      return following.output().includes(' two\n')
    })
    following.kill('SIGTERM')
    const { code, stdout } = await following.ended
    expect(code).toBe(0)
    const said = stdout.replaceAll(/^\S+Z /gm, '').replaceAll(/^\[fleetcat: .*\]\n/gm, '')
    expect(said).toMatch(/^login: \none\n(two\n)+$/)

    for (const words of [
      ['--since', 'yesterday'],
      ['--last', 'lots'],
    ]) {
      expect((await log(...words).ended).code).toBe(2)
    }
    const { items } = await lab.fleet.json(['audit'])
    expect(JSON.stringify(items)).toContain('SERIAL-LOG')
  },
  patience,
)

needing('cc')(
  'a log whose file may not be read is as long as the memory of its host, and says what is missing',
  async () => {
    await using lab = await openLab({ permit: ['SERIAL:/dev/pts/*', 'OPEN:/tmp/**,append,creat,wronly'] })
    const target = `SERIAL:${lab.port.path},share,log=${lab.fleet.folder}/port.log`
    const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
    await lab.fleet.cat(['create', 'kept', '--on', 'lab-1', listen, target, '--wait'])
    lab.port.far.write('remembered\r\n')
    const log = (...words: string[]) => lab.start([launcher, 'serial', 'log', lab.place, ...words])
    const remembered = await until('it is remembered', async () => {
      const outcome = await log().ended
      return outcome.stdout === 'remembered\r\n' ? outcome : undefined
    })
    expect(remembered.stderr).toMatch(/add "OPEN:.*port\.log,rdonly" under permit:.*what the host remembers/s)
    const refused = await log('--since', '1h').ended
    expect(`${refused.code} ${refused.stderr}`).toMatch(/^3 .*add "OPEN:.*port\.log,rdonly"/s)
  },
  patience,
)

needing('cc', python)(
  'a third host speaks RFC 2217 with a port through a tunnel, and each setting arrives',
  async () => {
    await using lab = await openLab()
    await lab.fleet.startAgent('bench')
    const place = `@lab-1/SERIAL:${lab.port.path},share,rfc2217`
    await lab.fleet.cat([
      'create',
      'modem',
      '--on',
      'bench',
      'TCP4-LISTEN:0,bind=127.0.0.1,fork',
      place,
      '--wait',
    ])
    const { items } = await lab.fleet.json(['list'])
    const script = `
import serial, sys
port = serial.serial_for_url(sys.argv[1], 57600, parity='O', timeout=10)
port.write(b'through\\n')
print(port.baudrate)
port.close()
`
    const url = `rfc2217://${items[0].status.agents[0].local[0]}`
    expect(await lab.start([python, '-c', script, url]).ended).toMatchObject({ code: 0, stdout: '57600\n' })
    await until('the device has it', () => lab.received() === 'through\n')
    expect(lab.lines.log().map(({ what }) => what)).toContainEqual(
      expect.stringMatching(/^framing .*parity=odd/),
    )
  },
  patience,
)
