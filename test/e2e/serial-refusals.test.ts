import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { launcher } from '#test/resources/program.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import { until } from '#test/resources/until.ts'
import { type Lab, openLab } from './lab.ts'

const patience = 90_000
const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'

/** The exit code, and what is said, of a console that does not come to be. */
async function consoleOf(lab: Lab, ...words: string[]): Promise<string> {
  const { code, stderr } = await lab.start([launcher, 'console', ...words]).ended
  return `${code} ${stderr}`
}

/** The same of a relay. */
async function relayOf(lab: Lab, target: string): Promise<string> {
  const words = ['create', 'x', '--on', 'lab-1', listen, target, '--wait']
  const { code, stdout, stderr } = await lab.start([launcher, ...words]).ended
  return `${code} ${stdout}${stderr}`
}

needing('cc')(
  'settings that no line can have are refused before anybody is asked, with what would be right',
  async () => {
    await using lab = await openLab()
    const { path } = lab.port
    for (const [option, message] of [
      ['baud=0', /whole number from 1/],
      ['baud=-9600', /whole number from 1/],
      ['baud=9600.5', /whole number/],
      ['baud=10000000000', /whole number/],
      ['b9601', /Did you mean `b9600`/],
      ['parity=evne', /Did you mean `even`/],
      ['parity=O', /one of none, even, odd, mark, space/],
      ['data=4', /one of 5, 6, 7, 8/],
      ['data=9', /one of 5, 6, 7, 8/],
      ['stop=3', /one of 1, 1\.5, 2/],
      ['data=8,stop=1.5', /1\.5 stop bits go with 5 data bits only/],
      ['flow=hardware', /rtscts/],
    ] as const) {
      const target = `SERIAL:${path},${option}`
      expect(await relayOf(lab, target)).toMatch(/^2 /)
      expect(await relayOf(lab, target)).toMatch(message)
      expect(await consoleOf(lab, `@lab-1/${target}`)).toMatch(message)
    }
    for (const baud of ['0', '-9600', '9600.5', '1e4', '10000000000', '']) {
      expect(await consoleOf(lab, lab.place, `--baud=${baud}`)).toMatch(
        /^2 .*--baud.*whole number.*e\.g\. 115200/s,
      )
    }
    expect(lab.lines.log()).toEqual([])
  },
  patience,
)

needing('cc')(
  'who may ask no agent for its ports is told so once, and not by each of them',
  async () => {
    await using lab = await openLab()
    await lab.fleet.startAgent('lab-2', {})
    const home = await lab.operator('vera', 'viewer')
    const { code, stdout, stderr } = await lab.start([launcher, 'serial', 'list'], { home }).ended
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toMatch(/^fleetcat: list the serial ports: .*viewer.*\n$/)
  },
  patience,
)

needing('cc')(
  'what a device is not, or does not have, is said by whoever wants it',
  async () => {
    const permit = ['SERIAL:/dev/**', 'SERIAL:/tmp/**', 'OPEN:/tmp/**,append,creat,wronly']
    await using lab = await openLab({ permit })
    const { folder } = lab.fleet
    writeFileSync(join(folder, 'file'), '')
    for (const path of ['/dev/null', '/dev/zero', folder, join(folder, 'file')]) {
      expect(await consoleOf(lab, `@lab-1/${path}`)).toMatch(/^2 .*it is no serial port.*write OPEN/s)
      expect(await relayOf(lab, `SERIAL:${path},log=${folder}/log`)).toMatch(
        /^[^0].*rejected.*it is no serial port/s,
      )
      await lab.fleet.cat(['revoke', 'relay/x'])
    }
    expect(await consoleOf(lab, '@lab-1//dev/ttyUSB77')).toMatch(/^4 .*this host has no such port/s)

    lab.line.limit(115_200, 'refused')
    const fast = `SERIAL:${lab.port.path},baud=250000`
    expect(await consoleOf(lab, `@lab-1/${fast}`)).toMatch(/^\d .*does not take `baud=250000`/s)
    expect(await relayOf(lab, `${fast},log=${folder}/log`)).toMatch(/^[^0].*does not take `baud=250000`/s)
    await lab.fleet.cat(['revoke', 'relay/x'])
    lab.line.limit(115_200, 'next best')
    expect(await consoleOf(lab, `@lab-1/${fast}`)).toMatch(/^\d .*does not keep `baud=250000`/s)
    const slower = lab.start([launcher, 'console', lab.place, '--baud', '250000', '--end-after', '1ms'])
    expect((await slower.ended).stderr).toMatch(/cannot have 250000 baud; it has 115200/)
  },
  patience,
)

needing('cc', 'socat')(
  'who has a port is said, by program and number, whichever lock it has taken',
  async () => {
    await using lab = await openLab()
    const { path } = lab.port
    {
      const socat = spawn('socat', ['-u', `FILE:${path},flock-nb`, '-'], { stdio: 'ignore' })
      const ended = once(socat, 'exit')
      await until('it has it', () => readFileSync('/proc/locks', 'latin1').includes(` ${socat.pid} `))
      expect(await consoleOf(lab, lab.place)).toMatch(
        new RegExp(`^5 .*in use by .*socat \\(pid ${socat.pid}\\)`, 's'),
      )
      socat.kill('SIGKILL')
      await ended
    }
    const sleep = spawn('sleep', ['1000'], { stdio: 'ignore' })
    const ended = once(sleep, 'exit')
    const file = `/var/lock/LCK..${path.slice('/dev/'.length).replaceAll('/', '_')}`
    writeFileSync(file, `${String(sleep.pid).padStart(10)}\n`)
    expect(await consoleOf(lab, lab.place)).toMatch(
      new RegExp(`^5 .*in use by sleep \\(pid ${sleep.pid}\\), as ${file} says`, 's'),
    )
    sleep.kill('SIGKILL')
    await ended
    // What it has left keeps nobody out.
    expect(await consoleOf(lab, lab.place, '--end-after', '1ms')).toMatch(/^0 /)
  },
  patience,
)

needing('root', 'setpriv', 'python3')(
  'an agent that is not the superuser says which group may open a port, and who has it for himself',
  async () => {
    await using port = await openFakePort()
    const dialout = Number(/^dialout:[^:]*:(\d+):/m.exec(readFileSync('/etc/group', 'utf8'))![1])
    chownSync(port.path, 0, dialout)
    chmodSync(port.path, 0o660)
    await using lab = await openLab({ within: asNobody })
    const place = `@lab-1/${port.path}`
    expect(await consoleOf(lab, place)).toMatch(/^3 .*denies access.*`usermod -aG dialout nobody`/s)

    chmodSync(port.path, 0o666)
    const script = `import fcntl, os, time; fd = os.open('${port.path}', os.O_RDWR | os.O_NOCTTY); fcntl.ioctl(fd, 0x540c); print('has it', flush=True); time.sleep(1000)`
    const owner = lab.start(['python3', '-c', script])
    await owner.says(/has it/)
    // Of the programs of others it sees nothing.
    expect(await consoleOf(lab, place)).toMatch(
      /^5 .*in use by another program, which this process may not see/s,
    )
  },
  patience,
)

/** With the rights of nobody, who needs a place for what he writes down. */
async function asNobody(): Promise<readonly string[]> {
  const room = 'mkdir -p "$3" && chown 65534 "$3" && chmod 711 "$(dirname "$3")"'
  const start = 'exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0" "$@"'
  return ['sh', '-c', `${room} && ${start}`]
}
