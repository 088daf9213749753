import { readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { launcher } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import type { Screen } from '#test/resources/tmux.ts'
import { until } from '#test/resources/until.ts'
import { type Lab, openLab } from './lab.ts'

const patience = 90_000
const needed = ['cc', 'tmux'] as const

/** A console that stands. */
async function openConsole(lab: Lab, words: string, home?: string): Promise<Screen> {
  const screen = await lab.screen(home)
  await enter(screen, `fleetcat console ${lab.place} ${words}; echo "ended with $?"`)
  await screen.shows(/; you (write|watch)\]/)
  return screen
}

async function enter(screen: Screen, text: string): Promise<void> {
  await screen.type(text)
  await screen.press('Enter')
}

needing(...needed)(
  'a console passes what is typed and shows what comes, and leaves the terminal as it was',
  async () => {
    await using lab = await openLab()
    const screen = await lab.screen()
    const before = await screen.settings()
    await enter(screen, `fleetcat console ${lab.place} --baud 115200`)
    await screen.shows(/\[fleetcat: @lab-1\/\/dev\/pts\/\d+, 115200 8N1; you write\]/)
    await enter(screen, 'help')
    await until('the device has it', () => lab.received() === 'help\r')
    lab.port.far.write('commands: help, reboot\r\n> ')
    await screen.shows(/commands: help, reboot\n>$/)
    await screen.resize(60, 12)
    lab.port.far.write('\r\nin another size\r\n> ')
    await screen.shows(/commands: help, reboot\n>\nin another size\n>$/)
    await enter(screen, '~~')
    await until('two are one', () => lab.received() === 'help\r~\r')
    await screen.type('~?')
    await screen.shows(
      /^\[fleetcat: ~e show what you type, or not\]\n\[fleetcat: ~\. quit\]\n\[fleetcat: ~~ a ~\]$/m,
    )
    await screen.type('~.')
    await screen.shows(/ready\$$/)
    expect(await screen.settings()).toBe(before)

    await enter(screen, `fleetcat console ${lab.place}; echo "ended with $?"`)
    await screen.shows(/; you write\]\n*$/)
    const [console] = await childrenOf(screen.shell)
    process.kill(console!, 'SIGTERM')
    await screen.shows(/ended with 0/)
    expect(await screen.settings()).toBe(before)
  },
  patience,
)

const childrenOf = async (pid: number) =>
  (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean).map(Number)

needing(...needed)(
  'a console that crashes leaves the terminal as it was',
  async () => {
    await using lab = await openLab()
    const screen = await lab.screen()
    const before = await screen.settings()
    const crash = join(lab.fleet.folder, 'crash.mjs')
    await writeFile(crash, "process.on('SIGUSR2', () => { throw new Error('crashed') })")
    await enter(screen, `NODE_OPTIONS='--import ${crash}' fleetcat console ${lab.place}`)
    await screen.shows(/; you write\]\n*$/)
    expect(await screen.settings()).not.toBe(before)
    const [console] = await childrenOf(screen.shell)
    process.kill(console!, 'SIGUSR2')
    await screen.shows(/crashed[\s\S]*ready\$$/)
    expect(await screen.settings()).toBe(before)
  },
  patience,
)

needing(...needed)(
  'of two consoles one writes and the other watches, until it takes over',
  async () => {
    await using lab = await openLab()
    const ann = await openConsole(lab, '', await lab.operator('ann'))
    await ann.shows(/you write/)
    const bob = await openConsole(lab, '', await lab.operator('bob'))
    await bob.shows(/you watch/)
    lab.port.far.write('for all\r\n')
    await Promise.all([ann.shows(/for all/), bob.shows(/for all/)])
    await enter(bob, 'nothing')
    await bob.shows(/operator\/ann writes; what you write goes nowhere/)
    await bob.type('~w')
    await bob.shows(/operator\/ann writes; you watch/)
    expect(lab.received()).toBe('')

    await bob.type('~t')
    await bob.shows(/you write now/)
    await ann.shows(/operator\/bob has taken over; what you write goes nowhere/)
    await enter(bob, 'mine')
    await until('the device has it', () => lab.received() === 'mine\r')
    await bob.type('~.')
    await bob.shows(/ended with 0/)
    await ann.shows(/you may write now/)
    await enter(ann, 'again')
    await until('the device has it', () => lab.received() === 'mine\ragain\r')

    const third = await openConsole(lab, '--take-over', await lab.operator('cat'))
    await third.shows(/you write/)
    await ann.shows(/operator\/cat has taken over/)
  },
  patience,
)

needing(...needed)(
  'a port that is asked for is theirs who waited longest, for as long as they said, and it is on record who took it',
  async () => {
    await using lab = await openLab()
    const ann = await openConsole(lab, '--exclusive', await lab.operator('ann'))
    const bob = await lab.screen(await lab.operator('bob'))
    await enter(bob, `fleetcat console ${lab.place} --exclusive --wait 5m --ttl 2s; echo "ended with $?"`)
    await bob.shows(/in use by .* through operator\/ann.*; waiting\]/)
    await ann.type('~.')
    await bob.shows(/you write\][\s\S]*the time for which it was asked for is over[\s\S]*ended with 1/)

    const cat = await openConsole(lab, "--alert 'panic|Oops'", await lab.operator('cat'))
    const dan = await openConsole(lab, '--take-over', await lab.operator('dan'))
    await cat.shows(/operator\/dan has taken over/)
    lab.port.far.write('all is well\r\nkernel panic\r\n')
    await dan.shows(/kernel panic/)
    const rows = await until('both are on record', async () => {
      const { items } = await lab.fleet.json(['audit', '--event', 'serial'])
      return items.length === 2 ? items : undefined
    })
    expect(rows).toMatchObject([
      {
        event: 'serial.taken-over',
        by: 'agent/lab-1',
        words: expect.stringMatching(/operator\/dan took the writing from .*operator\/cat$/),
      },
      { event: 'serial.alert', outcome: 'alert', words: 'a serial port has said: kernel panic' },
    ])
  },
  patience,
)

needing(...needed)(
  'a console sets the line and its wires, sends breaks, shows bytes and logs',
  async () => {
    await using lab = await openLab()
    const log = join(lab.fleet.folder, 'console.log')
    const screen = await openConsole(lab, `--log ${log}`)
    await enter(screen, '~s19200')
    await screen.shows(/\[fleetcat: 19200 baud\]/)
    await screen.type('~i')
    await screen.shows(/19200 8N1; DCD off, RI off, DSR off, CTS off; errors: none/)
    lab.line.count({ frame: 3, overrun: 1 })
    await screen.type('~i')
    await screen.shows(/errors: 3 framing, 1 overrun/)
    await screen.type('~s')
    await enter(screen, '0')
    await screen.shows(/a line cannot have `0` baud/)
    await until('DTR is on', () => lab.line.dtr)
    await screen.type('~d')
    await screen.shows(/DTR is off/)
    expect(lab.line.dtr).toBe(false)
    await screen.type('~d')
    await screen.shows(/DTR is on/)
    expect(lab.line.dtr).toBe(true)
    await screen.type('~r')
    await screen.shows(/RTS is off/)
    expect(lab.line.rts).toBe(false)
    await screen.type('~b')
    await screen.shows(/break sent/)
    expect(
      lab.lines
        .log()
        .filter(({ what }) => what.startsWith('break'))
        .map(({ what }) => what),
    ).toEqual(['break on', 'break off'])
    await screen.type('~x')
    lab.port.far.write('a\x00\xff')
    await screen.shows(/61 00 c3 bf +a\.\.\./)
    await screen.type('~l')
    await screen.shows(/the log is closed/)
    expect(await readFile(log, 'utf8')).toBe('a\x00ÿ')
  },
  patience,
)

needing(...needed)(
  'a console says when the line seems to be set wrong, and what a device does not have',
  async () => {
    await using lab = await openLab()
    const screen = await openConsole(lab, '')
    let frame = 0
    await until('it is said', async () => {
      frame += 10
      lab.line.count({ frame })
      lab.port.far.write('x'.repeat(20))
      return /framing or parity errors in the last \d+ bytes: is the line set as its device/.test(
        await screen.seen(),
      )
    })
    await enter(screen, '~s115200')
    await screen.shows(/115200 baud/)
    lab.port.far.write(Buffer.alloc(200, '\x00\xe6\x1c', 'latin1'))
    await screen.shows(/most of what comes is no text: is the line set as its device/)
    await screen.type('~.')
    await screen.shows(/ended with 0/)

    await using other = await openFakePort()
    await enter(screen, `clear; fleetcat console @lab-1/${other.path}`)
    await screen.shows(/; you write\]/)
    await screen.type('~i')
    await screen.shows(/errors: not counted by this device/)
    await screen.type('~d')
    await screen.shows(/this device has no DTR that can be set/)
    await screen.type('~b')
    await screen.shows(/this device cannot send a break/)
  },
  patience,
)

needing(...needed)(
  'a console outlives its agent, says so, and ends with the reason when its connection is revoked',
  async () => {
    await using lab = await openLab()
    const before = await (await lab.screen()).settings()
    const screen = await openConsole(lab, '')
    const watcher = await openConsole(lab, '', await lab.operator('ann'))
    await watcher.shows(/you watch/)
    lab.agent.kill('SIGKILL')
    await screen.shows(/the connection was lost: .*Trying again/)
    await lab.startAgent()
    await screen.shows(/connected again; you write/)
    await watcher.shows(/connected again; you watch/)
    await watcher.type('~.')
    await watcher.shows(/ended with 0/)
    await enter(screen, 'hello')
    await until('the device has it', () => lab.received().endsWith('hello\r'))

    const { items } = await lab.fleet.json(['connections'])
    expect(items).toMatchObject([
      { agent: 'lab-1', tunnel: { initiator: expect.stringMatching(/^operator\//), purpose: 'console' } },
    ])
    await lab.fleet.cat(['revoke', `conn/${items[0].id}`, '--reason', 'the bench is needed'])
    await screen.shows(/the bench is needed[\s\S]*ended with 3/)
    expect(await screen.settings()).toBe(before)
  },
  patience,
)

needing(...needed)(
  'consoles end with their operator, and say why',
  async () => {
    await using lab = await openLab()
    const screen = await openConsole(lab, '', await lab.operator('ann'))
    await lab.fleet.cat(['revoke', 'operator/ann', '--reason', 'she has left'])
    await screen.shows(/revoked[\s\S]*ended with 3/)
  },
  patience,
)

needing('cc')(
  'without a terminal a console passes bytes as they are, and ends when all is said',
  async () => {
    await using lab = await openLab()
    lab.port.far.on('data', bytes => {
      if (bytes.toString('latin1').includes('?')) lab.port.far.write('the answer\r\n')
    })
    const asking = lab.start([launcher, 'console', lab.place, '--end-after', '300ms'], {
      input: '~.version?\n',
    })
    expect(await asking.ended).toMatchObject({ code: 0, stdout: 'the answer\r\n' })
    expect(lab.received()).toBe('~.version?\n')
    const quick = lab.start([launcher, 'console', lab.place, '--end-after', '1ms'], {
      input: 'x'.repeat(3_000),
    })
    await quick.ended
    await until('all has arrived', () => lab.received().endsWith('x'.repeat(3_000)))
  },
  patience,
)

needing('cc')(
  'what is wrong with a port is said before or when it is opened, with what would be right',
  async () => {
    await using lab = await openLab({ permit: ['SERIAL:/dev/pts/*', 'SERIAL:/dev/null'] })
    const refused = async (words: string[]) => {
      const { code, stderr } = await lab.start([launcher, 'console', ...words]).ended
      return `${code} ${stderr}`
    }
    expect(await refused(['/dev/ttyUSB0'])).toMatch(/^2 .*names no agent/)
    expect(await refused(['@lab-1/TCP4:127.0.0.1:80'])).toMatch(/^2 .*TCP4 is no serial port/)
    expect(await refused([lab.place, '--baud', 'fast'])).toMatch(/^2 .*--baud fast.*e\.g\. 115200/s)
    expect(await refused([lab.place, '--baud', '999999999999'])).toMatch(/^2 .*no line can have/)
    expect(await refused([`@lab-1/SERIAL:/dev/pts/9,parity=evn`])).toMatch(
      /^2 .*Write `even`|^2 .*Did you mean `even`/s,
    )
    expect(await refused([lab.place, '--replay', 'lots'])).toMatch(/^2 .*no number of bytes/)
    expect(await refused([lab.place, '--watch', '--exclusive'])).toMatch(/^2 .*contradict/)
    expect(await refused(['@lab-1//dev/ttyS9'])).toMatch(/^3 .*add "SERIAL:\/dev\/ttyS9" under permit:/s)
    expect(await refused(['@nobody//dev/ttyUSB0'])).toMatch(/^4 .*no agent called nobody/)
    expect(await refused(['@lab-1//dev/null'])).toMatch(/^(2|1) .*it is no serial port/s)
  },
  patience,
)

needing(...needed)(
  'a console waits for a port that has gone, and says when it is there again',
  async () => {
    await using scratch = await openScratch()
    const path = join(scratch.path, 'ttyUSB0')
    await using lab = await openLab({ permit: [`SERIAL:${path}`, 'SERIAL:/dev/pts/*'] })
    await symlink(lab.port.path, path)
    const screen = await lab.screen()
    await enter(screen, `fleetcat console @lab-1/${path}`)
    await screen.shows(/; you write\]/)
    await rm(path)
    await lab.port.unplug()
    await screen.shows(/the port has gone; waiting for it/)
    await using other = await openFakePort()
    lab.lines.add(other.path)
    await symlink(other.path, path)
    await screen.shows(/the port is there again/)
    other.far.write('it is me\r\n')
    await screen.shows(/it is me/)
    await screen.type('~.')
    await screen.shows(/ready\$$/)
  },
  patience,
)

needing(...needed)(
  'who may only watch by the ceiling watches, and does not take over',
  async () => {
    await using lab = await openLab({ permit: ['SERIAL:/dev/pts/*,watch'] })
    const screen = await openConsole(lab, '--watch')
    await screen.type('~t')
    await screen.shows(/the host's ceiling has no target SERIAL:\/dev\/pts\/\d+/)
    await enter(screen, 'nothing')
    lab.port.far.write('all the same\r\n')
    await screen.shows(/all the same/)
    expect(lab.received()).toBe('')
    const { code, stderr } = await lab.start([launcher, 'console', lab.place]).ended
    expect(`${code} ${stderr}`).toMatch(/^3 .*ceiling/s)
  },
  patience,
)

needing(...needed)(
  'one who has a port alone has it alone, and what came before is replayed to who asks',
  async () => {
    await using lab = await openLab()
    const ann = await openConsole(lab, '')
    lab.port.far.write('booted\r\n')
    await ann.shows(/booted/)
    const bob = await openConsole(lab, '--watch --replay 1k')
    await bob.shows(/booted/)
    const cat = lab.start([launcher, 'console', lab.place, '--exclusive'])
    const refused = await cat.ended
    expect(`${refused.code} ${refused.stderr}`).toMatch(
      /^5 .*in use by .*operator\/.*; .*operator\/.*, watching/s,
    )
    for (const screen of [ann, bob]) {
      await screen.type('~.')
      await screen.shows(/ended with 0/)
    }
    const alone = await openConsole(lab, '--exclusive')
    const late = await lab.start([launcher, 'console', lab.place, '--watch']).ended
    expect(`${late.code} ${late.stderr}`).toMatch(/^5 .*in use by/s)
    await alone.type('~.')
    await alone.shows(/ended with 0/)
  },
  patience,
)
