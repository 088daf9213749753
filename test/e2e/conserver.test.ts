import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { lastingPort } from '#test/resources/ports.ts'
import { launcher } from '#test/resources/program.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import type { Screen } from '#test/resources/tmux.ts'
import { until } from '#test/resources/until.ts'
import { type Lab, openLab } from './lab.ts'

interface Conserver {
  /** Somebody who is attached to a console. */
  attach(console: string): Promise<Screen>
  /** What it says of its consoles: `{ one: 'up', two: 'down' }`. */
  states(): Promise<Record<string, string>>
  /** All that a console has said. */
  log(console: string): Promise<string>
}

/** Conserver, which ends with the lab, and its client. */
async function startConserver(lab: Lab, consoles: Readonly<Record<string, string>>): Promise<Conserver> {
  const { folder } = lab.fleet
  const [port, base] = [await lastingPort(), await lastingPort()]
  const [file, passwords] = [join(folder, 'conserver.cf'), join(folder, 'conserver.passwd')]
  await writeFile(passwords, '*any*:\n')
  await writeFile(
    file,
    `config * { passwdfile ${passwords}; pidfile ${folder}/conserver.pid; }
access * { trusted 127.0.0.1; }
default * { master localhost; rw *; logfile ${folder}/&.log; }
${Object.entries(consoles)
  .map(([name, settings]) => `console ${name} { ${settings} }\n`)
  .join('')}`,
  )
  const where = ['-M', '127.0.0.1', '-p', String(port)]
  lab.start(['conserver', '-E', ...where, '-b', String(base), '-C', file])
  const client = ['console', '-n', '-E', ...where, '-l', 'ann']
  const states = async () => {
    const { stdout } = await lab.start([...client, '-i']).ended
    const rows = stdout.split('\n').filter(Boolean)
    return Object.fromEntries(rows.map(row => [row.split(':')[0], row.split(':')[5] ?? '']))
  }
  await until('all are up', async () => {
    const all = Object.values(await states())
    return all.length === Object.keys(consoles).length && all.every(state => state === 'up')
  })
  return {
    states,
    log: console => readFile(join(folder, `${console}.log`), 'latin1'),
    async attach(console) {
      const screen = await lab.screen()
      await screen.type([...client, console].join(' '))
      await screen.press('Enter')
      await screen.shows(/Enter `\^Ec\?' for help/)
      await until('it has the terminal', async () => /-icanon/.test(await screen.settings()))
      return screen
    },
  }
}

/** Types a line at a console, and lets its device answer. */
async function converse(screen: Screen, device: Duplex, words: string): Promise<void> {
  let heard = ''
  const hear = (bytes: Buffer) => {
    heard += bytes.toString('latin1')
  }
  device.on('data', hear)
  await screen.type(words)
  await screen.press('Enter')
  await until('the device has it', () => heard === `${words}\r`)
  device.off('data', hear)
  device.write(`answer to ${words}\r\n`)
  await screen.shows(new RegExp(`^answer to ${words}$`, 'm'))
}

/** A command of its client. */
async function command(screen: Screen, letters: string): Promise<void> {
  await screen.press('C-e')
  await screen.type(`c${letters}`)
}

needing(
  'cc',
  'tmux',
  'conserver',
  'console',
)(
  'conserver has ports of another host as its consoles, sees one go down that is revoked, and has it again',
  async () => {
    // They outlive the agent: whoever is given the number of a port that has gone would share it with this one's agent.
    await using second = await openFakePort()
    await using third = await openFakePort()
    await using lab = await openLab()
    lab.lines.add(second.path)
    const [one, two] = [await lastingPort(), await lastingPort()]
    await lab.fleet.startAgent('edge-1')
    const relay = (name: string, agent: string, listen: string, target: string) =>
      lab.fleet.cat(['create', name, '--on', agent, `${listen},bind=127.0.0.1,fork`, target, '--wait'])
    const first = `@lab-1/SERIAL:${lab.port.path},baud=57600`
    await relay('one', 'edge-1', `TCP4-LISTEN:${one}`, first)
    await relay('two', 'lab-1', `RFC2217-LISTEN:${two}`, `SERIAL:${second.path}`)
    const conserver = await startConserver(lab, {
      one: `type host; host 127.0.0.1; port ${one}; protocol raw;`,
      // As telnet, which is what it takes a terminal server for.
      two: `type host; host 127.0.0.1; port ${two};`,
      three: `type exec; exec ${launcher} console @lab-1/${third.path} --escape none;`,
    })

    const ann = await conserver.attach('one')
    await converse(ann, lab.port.far, 'first')
    const bob = await conserver.attach('two')
    await converse(bob, second.far, 'second')
    await command(bob, 'l0')
    await until('there was a break', () => lab.lines.log().some(({ what }) => what === 'break off'))
    const cat = await conserver.attach('three')
    await until('its program has the port', async () => /you write\]/.test(await conserver.log('three')))
    await converse(cat, third.far, 'third')

    await lab.fleet.cat(['revoke', 'relay/one', '--reason', 'the board goes back'])
    await until('it is down', async () => (await conserver.states()).one === 'down')
    expect(await conserver.states()).toEqual({ one: 'down', two: 'up', three: 'up' })
    await converse(bob, second.far, 'still')
    await relay('one', 'edge-1', `TCP4-LISTEN:${one}`, first)
    await command(ann, 'o')
    await ann.shows(/\[connecting\.\.\.up\]/)
    await converse(ann, lab.port.far, 'again')

    const { items } = await lab.fleet.json(['connections'])
    const { id } = items.find((item: { target: string }) => item.target.includes(third.path))
    await lab.fleet.cat(['revoke', `conn/${id}`, '--reason', 'no more'])
    // It starts its program again by itself.
    await cat.shows(/revoked: no more[\s\S]*you write\]/)
    await converse(cat, third.far, 'too')
  },
  90_000,
)
