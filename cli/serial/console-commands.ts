import { checkLine } from '#relay/serial/line-settings.ts'
import type { Presence } from '#relay/serial/standing.ts'
import type { ConsoleView } from './console-view.ts'
import { errorsInWords, inWords } from './line-words.ts'
import type { RemotePort } from './remote-port.ts'
import type { Terminal } from './terminal.ts'

/** What the commands of a console work on. */
export interface ConsoleParts {
  readonly terminal: Terminal
  readonly view: ConsoleView
  /** The escape character. */
  readonly sign: string
  /** Undefined while there is no connection. */
  remote(): RemotePort | undefined
  quit(): void
  isLogging(): boolean
  /** Undefined: no log any more. Rejects with a RelayError when the file cannot be opened. */
  logTo(path: string | undefined): Promise<void>
}

/** What stands behind the escape character. */
export interface ConsoleCommand {
  readonly key: string
  readonly summary: string
  run(): Promise<void>
}

export function consoleCommands(parts: ConsoleParts): readonly ConsoleCommand[] {
  const { terminal, view, sign } = parts
  const { say } = terminal

  /** With the connection, if there is one. */
  const on = (act: (remote: RemotePort) => Promise<void>) => async () => {
    const remote = parts.remote()
    if (remote) await act(remote)
    else say('there is no connection')
  }
  /** The line is its writer's. */
  const asWriter = (act: (remote: RemotePort) => Promise<void>) =>
    on(async remote => {
      if (remote.standing.writes) await act(remote)
      else say(`you only watch; ${sign}t takes over`)
    })
  const flip = (name: 'dtr' | 'rts') =>
    asWriter(async remote => {
      const isOn = (await remote.control())[name]
      const isDone = await remote.setControl({ [name]: !isOn })
      const wire = name.toUpperCase()
      say(isDone ? `${wire} is ${isOn ? 'off' : 'on'}` : `this device has no ${wire} that can be set`)
    })

  const commands: readonly ConsoleCommand[] = [
    {
      key: '?',
      summary: 'this help',
      run: async () => {
        for (const line of help()) say(line)
      },
    },
    {
      key: 'b',
      summary: 'send a break',
      run: asWriter(async remote => {
        say((await remote.sendBreak()) ? 'break sent' : 'this device cannot send a break')
      }),
    },
    {
      key: 's',
      summary: 'set the baud rate',
      run: asWriter(async remote => {
        const answer = await terminal.ask('baud:')
        if (answer === undefined || answer === '') return
        const baud = /^\d+$/.test(answer) ? Number(answer) : Number.NaN
        checkLine({ baud: Number.isNaN(baud) ? (answer as unknown as number) : baud }, 'the baud rate')
        const now = await remote.set({ baud })
        say(now.baud === baud ? `${baud} baud` : `the port cannot have ${baud} baud; it has ${now.baud}`)
      }),
    },
    { key: 'd', summary: 'DTR on or off', run: flip('dtr') },
    { key: 'r', summary: 'RTS on or off', run: flip('rts') },
    {
      key: 'i',
      summary: 'how the line is set, what the modem lines say, and what went wrong on it',
      run: on(async remote => {
        const { line } = await remote.who()
        const wires = Object.entries(await remote.modem())
          .map(([name, isOn]) => `${name.toUpperCase()} ${isOn ? 'on' : 'off'}`)
          .join(', ')
        const counts = await remote.errors()
        const errors = counts ? errorsInWords(counts) || 'none' : 'not counted by this device'
        say(`${line ? inWords(line) : 'the device is not there'}; ${wires}; errors: ${errors}`)
      }),
    },
    {
      key: 'w',
      summary: 'who is here',
      run: on(async remote => {
        const { present } = await remote.who()
        say(present.map(presenceText).join('; '))
      }),
    },
    {
      key: 't',
      summary: 'take over the writing',
      run: on(async remote => {
        if (remote.standing.writes) return say('you write already')
        await remote.takeOver()
        say('you write now')
      }),
    },
    {
      key: 'l',
      summary: 'log into a file, or no more',
      async run() {
        if (parts.isLogging()) {
          await parts.logTo(undefined)
          return say('the log is closed')
        }
        const path = await terminal.ask('log to:')
        if (path === undefined || path === '') return
        await parts.logTo(path)
        say(`what comes is written to ${path} too`)
      },
    },
    {
      key: 'x',
      summary: 'hexadecimal, or not',
      async run() {
        view.hex = !view.hex
        say(view.hex ? 'hexadecimal' : 'text')
      },
    },
    {
      key: 'e',
      summary: 'show what you type, or not',
      async run() {
        view.echo = !view.echo
        say(view.echo ? 'what you type is shown' : 'what you type is not shown')
      },
    },
    // The last, which is seen on the smallest screen.
    { key: '.', summary: 'quit', run: async () => parts.quit() },
  ]
  const help = () => [
    ...commands.map(({ key, summary }) => `${sign}${key} ${summary}`),
    `${sign}${sign} a ${sign}`,
  ]
  return commands
}

const presenceText = ({ who, writes, you }: Presence) => {
  if (you) return writes ? 'you write' : 'you watch'
  return `${who} ${writes ? 'writes' : 'watches'}`
}
