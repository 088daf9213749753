import { RelayError } from '#relay/errors.ts'
import { report } from '../failure.ts'
import { interrupted } from '../signals.ts'
import { type CommandLine, readCommandLine } from './command-line.ts'
import { errorText } from './error-text.ts'
import { type Messages, openMessages } from './messages.ts'
import { defaultSettings } from './settings.ts'

/** Runs `fleetcat socat` with these words. Answers the exit code. */
export async function run(words: readonly string[]): Promise<number> {
  let line: CommandLine
  try {
    line = readCommandLine(words, process.env)
  } catch (error) {
    await using messages = openMessages(defaultSettings())
    return failed(messages, error)
  }
  const { asks } = line.settings
  if (asks) return answer(asks)
  let messages: Messages
  try {
    messages = openMessages(line.settings)
  } catch (error) {
    await report(error, 'fleetcat socat')
    return 1
  }
  await using _ = messages
  return await relay(line, messages)
}

async function answer(asks: 'version' | 'help' | 'help-options' | 'help-all'): Promise<number> {
  const text =
    asks === 'version'
      ? (await import('./features.ts')).versionText()
      : (await import('./help.ts')).helpText(asks)
  process.stdout.write(text)
  return 0
}

async function relay({ settings, addresses }: CommandLine, messages: Messages): Promise<number> {
  const [first, second] = addresses
  if (first === undefined || second === undefined || addresses.length > 2) {
    const there = `there are ${addresses.length}`
    messages.say('E', `exactly 2 addresses required (${there}); use option "-h" for help`)
    return 1
  }
  const signals = heedSignals(messages)
  try {
    const [{ runRelay }, { lockOf }] = await Promise.all([import('./relay.ts'), import('./lock.ts')])
    await using _ = settings.lock && (await lockOf(settings.lock, signals.signal))
    const code = await runRelay([first, second], settings, messages, signals.signal)
    if (signals.code !== undefined) return signals.code
    messages.say('N', code === 0 ? 'exiting with status 0' : `exit(${code})`)
    return code
  } catch (error) {
    return signals.code ?? failed(messages, error)
  } finally {
    signals[Symbol.dispose]()
  }
}

function failed(messages: Messages, thrown: unknown): number {
  messages.say('E', errorText(RelayError.from(thrown, 'socat')))
  messages.say('N', 'exit(1)')
  return 1
}

const numbers = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const

/** The first one winds up what is open, the second one does not wait for that. */
function heedSignals(messages: Messages) {
  const stopping = new AbortController()
  let code: number | undefined
  const heed = (name: NodeJS.Signals) => {
    const number = numbers[name as keyof typeof numbers]
    if (code !== undefined) process.exit(code)
    code = 128 + number
    messages.say(name === 'SIGTERM' ? 'W' : 'N', `exiting on signal ${number}`)
    stopping.abort(new RelayError('closed', { what: 'socat', why: `it was stopped by ${name}` }))
  }
  process.off('SIGINT', interrupted)
  for (const name of Object.keys(numbers)) process.on(name, heed)
  return {
    signal: stopping.signal,
    get code() {
      return code
    },
    [Symbol.dispose]() {
      for (const name of Object.keys(numbers)) process.off(name, heed)
    },
  }
}
