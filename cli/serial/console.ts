import { setTimeout as pause } from 'node:timers/promises'
import { RelayError } from '#relay/errors.ts'
import type { Standing } from '#relay/serial/standing.ts'
import type { Fleet } from '../client.ts'
import { openAttached } from './attached.ts'
import { type ConsoleCommand, consoleCommands } from './console-commands.ts'
import { consoleView } from './console-view.ts'
import { openKeys } from './keys.ts'
import { inWords } from './line-words.ts'
import { enterAs, type LineEnd, type ShownEnd } from './newlines.ts'
import type { Place } from './place.ts'
import { openRecording, type Recording } from './recording.ts'
import type { RemotePort } from './remote-port.ts'
import type { Reservation } from './reservation.ts'
import { openTerminal } from './terminal.ts'

export interface ConsoleOptions extends Reservation {
  readonly replay?: string | undefined
  readonly alert?: RegExp | undefined
  readonly log?: string | undefined
  readonly hex: boolean
  readonly echo: boolean
  readonly enter: LineEnd
  readonly newline: ShownEnd
  /** The byte of the escape character; undefined: there is none. */
  readonly escape: number | undefined
  readonly baud?: number | undefined
  /** With no terminal, after the end of the input: so much silence is the end. */
  readonly endAfterMs: number
  /** Resolves with the exit code when somebody wants it to end. */
  readonly stopped: Promise<number>
}

/** Runs until somebody ends it. Answers the exit code; rejects with what ended it otherwise. */
export async function runConsole(fleet: Fleet, place: Place, options: ConsoleOptions): Promise<number> {
  const { wish, waitMs, ttlMs, replay, alert, baud, stopped } = options
  await using held = new AsyncDisposableStack()
  const done = Promise.withResolvers<number>()
  const terminal = held.use(openTerminal())
  const { say } = terminal
  const view = consoleView(options)
  const complain = (thrown: unknown) => say(RelayError.from(thrown, place.text).message)
  let recording: Recording | undefined
  held.defer(() => recording?.[Symbol.asyncDispose]())
  if (options.log !== undefined) recording = await openRecording(options.log, say)
  let heardAt = performance.now()

  const opening = openAttached(fleet, place, {
    ...{ purpose: 'console', wish, waitMs, ttlMs, replay, alert, told: say },
    // A person sees that somebody else writes; a script would lose what it says.
    mustWrite: !terminal.isInteractive && wish !== 'watch',
    async received(bytes) {
      heardAt = performance.now()
      recording?.add(bytes)
      await terminal.show(view.received(bytes))
    },
    async connected(remote, again) {
      if (baud !== undefined) await setBaud(remote, baud).then(say, complain)
      if (again) return
      // Before it is said: a program at the other end of the terminal types as soon as it reads that it may.
      terminal.takeKeys()
      say(greeting(place, remote.standing))
    },
  })
  // Who gives up before it stands need not wait for it.
  const first = await Promise.race([opening, stopped])
  if (typeof first === 'number') {
    void opening.then(late => late[Symbol.asyncDispose]()).catch(() => {})
    return first
  }
  const attached = held.use(first)

  const enter = enterAs(options.enter)
  const send = async (bytes: Buffer) => {
    if (!attached.remote) return say('there is no connection; what you type goes nowhere')
    await terminal.show(view.sent(bytes))
    await attached.remote.write(terminal.isInteractive ? enter(bytes) : bytes)
  }
  const sign = terminal.isInteractive ? options.escape : undefined
  const commands = consoleCommands({
    ...{ terminal, view },
    remote: () => attached.remote,
    quit: () => done.resolve(0),
    isLogging: () => recording !== undefined,
    async logTo(path) {
      const was = recording
      recording = undefined
      await was?.[Symbol.asyncDispose]()
      if (path !== undefined) recording = await openRecording(path, say)
    },
    sign: sign === undefined ? '' : String.fromCharCode(sign),
  })
  const keys = openKeys(sign, new Set(commands.map(({ key }) => key)))
  /** In the order of the keys, but for commands that ask something: the answer is typed too. */
  const typed = async (bytes: Buffer) => {
    for (let left = bytes; left.length > 0; ) {
      const { typed, rest } = keys.read(left)
      for (const key of typed) {
        if ('send' in key) await send(key.send)
        else void run(commands.find(each => each.key === key.command)).catch(complain)
      }
      left = terminal.answered(rest)
    }
  }
  const ended = async () => {
    if (!terminal.isInteractive) await silence(() => heardAt, options.endAfterMs)
    done.resolve(0)
  }
  // A script that only watches may have no input at all.
  if (wish !== 'watch' || terminal.isInteractive) terminal.read(typed).then(ended).catch(done.reject)
  return await Promise.race([stopped, done.promise, attached.over])
}

const run = async (command: ConsoleCommand | undefined) => command?.run()

/** Resolves when nothing has been heard for so long, counted from now at the earliest. */
async function silence(heardAt: () => number, ms: number): Promise<void> {
  const began = performance.now()
  for (;;) {
    const left = Math.max(began, heardAt()) + ms - performance.now()
    if (left <= 0) return
    await pause(left)
  }
}

/** Answers what came of it, or nothing if it is as it should be. */
async function setBaud(remote: RemotePort, wanted: number): Promise<string> {
  if (!remote.standing.writes) return 'only who writes sets the line: --baud does nothing while you watch'
  const { baud } = await remote.set({ baud: wanted })
  return baud === wanted ? '' : `the port cannot have ${wanted} baud; it has ${baud}`
}

function greeting({ text }: Place, { line, writes }: Standing): string {
  return `${text}${line ? `, ${inWords(line)}` : ''}; ${writes ? 'you write' : 'you watch'}`
}
