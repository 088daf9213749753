import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { launcher } from '#test/resources/program.ts'
import type { Screen } from '#test/resources/tmux.ts'
import { until } from '#test/resources/until.ts'
import { type Lab, openLab } from './lab.ts'

const patience = 90_000

/** A port of another host as a device of this one. */
async function startLink(lab: Lab) {
  // Programs lock a device by its name, wherever it is.
  const link = join(lab.fleet.folder, `ttyLAB${process.pid}`)
  const pty = lab.start([launcher, 'serial', 'pty', lab.place, '--link', link])
  await pty.says(/ttyLAB\d+\n/)
  return { link, pty }
}

async function enter(screen: Screen, words: string): Promise<void> {
  await screen.type(words)
  await screen.press('Enter')
}

interface TerminalProgram {
  readonly name: string
  /** What is typed to have the port at this speed. */
  readonly begin: (link: string, baud: number) => string
  /** What shows that it has the port. */
  readonly ready: RegExp
  /** What is pressed to leave it, and what it says between. */
  readonly end: readonly (string | RegExp)[]
}

const terminalPrograms: readonly TerminalProgram[] = [
  {
    name: 'picocom',
    begin: (link, baud) => `picocom -b ${baud} ${link}`,
    ready: /Terminal ready/,
    end: ['C-a', 'C-x'],
  },
  { name: 'tio', begin: (link, baud) => `tio -b ${baud} ${link}`, ready: /Connected/, end: ['C-t', 'q'] },
  {
    name: 'minicom',
    begin: (link, baud) => `minicom -o -D ${link} -b ${baud}`,
    ready: /Press CTRL-A Z/,
    end: ['C-a', 'q', /Leave without reset/, 'Enter'],
  },
  {
    name: 'microcom',
    begin: (link, baud) => `microcom -p ${link} -s ${baud}`,
    ready: /Escape character/,
    end: ['C-\\', /-> ?$/, 'C-\\'],
  },
  {
    name: 'C-Kermit',
    begin: (link, baud) =>
      `kermit -Y -C 'set line ${link}, set carrier-watch off, set speed ${baud}, set flow none, connect, exit'`,
    ready: /---$/,
    end: ['C-\\', 'c'],
  },
  {
    name: 'screen',
    begin: (link, baud) => `screen ${link} ${baud}`,
    ready: /^$/,
    end: ['C-a', 'k', /Really kill/, 'y'],
  },
  {
    name: 'miniterm',
    begin: (link, baud) => `pyserial-miniterm ${link} ${baud}`,
    ready: /--- Miniterm/,
    end: ['C-]'],
  },
]

needing(
  'cc',
  'tmux',
  'picocom',
  'tio',
  'minicom',
  'microcom',
  'kermit',
  'screen',
  'pyserial-miniterm',
)(
  'terminal programs use a port of another host by its link, and the line follows what they set',
  async () => {
    await using lab = await openLab()
    const { link, pty } = await startLink(lab)
    const screen = await lab.screen()
    for (const [at, { name, begin, ready, end }] of terminalPrograms.entries()) {
      // Never the one that the program before it may have left.
      const baud = at % 2 === 0 ? 19_200 : 57_600
      const before = lab.received()
      const told = pty.output().length
      await enter(screen, `clear; ${begin(link, baud)}; clear`)
      await screen.shows(ready)
      await until(`${name} has set the speed`, () => pty.output().indexOf(`is set to ${baud} 8N1`, told) > 0)
      const words = `typed in ${name}`
      await screen.type(words)
      await until('the device has it', () => lab.received() === before + words)
      lab.port.far.write(`seen in ${name}\r\n`)
      await screen.shows(new RegExp(`seen in ${name}`))
      for (const step of end) await (typeof step === 'string' ? screen.press(step) : screen.shows(step))
      await screen.shows(/^ready\$$/)
    }
  },
  patience,
)

needing('cc', 'tmux', 'tio')(
  'tio waits for a link that has gone, and goes on with the next',
  async () => {
    await using lab = await openLab()
    const { link, pty } = await startLink(lab)
    const screen = await lab.screen()
    await enter(screen, `tio -b 57600 -s 2 ${link}; echo "ended with $?"`)
    await screen.shows(/Connected/)
    await pty.says(/is set to 57600 8N2/)
    pty.kill('SIGTERM')
    await pty.ended
    await screen.shows(/Disconnected/)
    const next = await startLink(lab)
    await screen.shows(/Disconnected[\s\S]*Connected/)
    await next.pty.says(/is set to 57600 8N2/)
    lab.port.far.write('and again\r\n')
    await screen.shows(/and again/)
    await screen.press('C-t', 'q')
    await screen.shows(/ended with 0/)
    expect(lab.received()).toBe('')
  },
  patience,
)
