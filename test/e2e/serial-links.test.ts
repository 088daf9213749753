import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { launcher } from '#test/resources/program.ts'
import { until } from '#test/resources/until.ts'
import { openLab } from './lab.ts'

needing('cc', 'tmux', 'tio', 'minicom')(
  'tio and minicom use a port of another host by its link, set its line, and tio waits for it to come back',
  async () => {
    await using lab = await openLab()
    const link = join(lab.fleet.folder, 'ttyLAB1')
    const startLink = async () => {
      const pty = lab.start([launcher, 'serial', 'pty', lab.place, '--link', link])
      await pty.says(/ttyLAB1\n/)
      return pty
    }
    const first = await startLink()
    const screen = await lab.screen()
    const enter = async (words: string) => {
      await screen.type(words)
      await screen.press('Enter')
    }

    await enter(`minicom -o -D ${link} -b 19200`)
    await screen.shows(/19200 8N1/)
    // What its configuration has, if nobody has written one.
    await first.says(/is set to 19200 8N1 rtscts/)
    await screen.type('of minicom')
    await until('the device has it', () => lab.received() === 'of minicom')
    lab.port.far.write('to minicom\r\n')
    await screen.shows(/to minicom/)
    await screen.press('C-a', 'q')
    await screen.shows(/Leave without reset\?/)
    await screen.press('Enter')
    await screen.shows(/^ready\$$/m)

    await enter(`clear; tio -b 57600 -s 2 ${link}; echo "ended with $?"`)
    await screen.shows(/Connected/)
    await first.says(/is set to 57600 8N2/)
    await screen.type(', of tio')
    await until('the device has it', () => lab.received() === 'of minicom, of tio')
    lab.port.far.write('to tio\r\n')
    await screen.shows(/to tio/)
    first.kill('SIGTERM')
    await first.ended
    await screen.shows(/Disconnected/)
    const second = await startLink()
    await screen.shows(/Disconnected[\s\S]*Connected/)
    await second.says(/is set to 57600 8N2/)
    lab.port.far.write('and again\r\n')
    await screen.shows(/and again/)
    await screen.press('C-t', 'q')
    await screen.shows(/ended with 0/)
    expect(lab.received()).toBe('of minicom, of tio')
  },
  90_000,
)
