import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync } from 'node:fs'
import { loadLibc } from '#relay/native/libc.ts'
import { openPty } from '#relay/terminal/open-pty.ts'
import { terminalStream } from '#relay/terminal/terminal-stream.ts'
import { readTermios } from '#relay/terminal/termios.ts'
import { until } from '#test/resources/until.ts'

/** A program with a terminal as its stdin and stdout, at which the test types. */
export interface TerminalProgram extends AsyncDisposable {
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>
  type(text: string): void
  /** All that the terminal has shown. */
  shown(): string
  shows(pattern: RegExp): Promise<unknown>
  /** Does the terminal hand over each character as it is typed, rather than whole lines? */
  isRaw(): boolean
  /** How it is set, to be compared. */
  settings(): string
}

const ICANON = 2

export interface TerminalOptions {
  readonly env?: Record<string, string>
  /** The terminal is so large, the program obeys its Ctrl-C, and its stderr goes there too. */
  readonly size?: { readonly rows: number; readonly columns: number }
}

export async function startInTerminal(
  words: readonly string[],
  { env, size }: TerminalOptions = {},
): Promise<TerminalProgram> {
  const command = size ? atHome(words, size) : words
  const libc = await loadLibc('a test')
  const { master, slavePath } = await openPty()
  const slave = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY)
  const [program = '', ...args] = command
  const child = spawn(program, args, {
    stdio: [slave, slave, 'pipe'],
    env: { ...process.env, ...env },
  })
  const typist = await terminalStream(master)
  let shown = ''
  let stderr = ''
  typist.on('data', bytes => {
    shown += bytes
  })
  child.stderr!.on('data', text => {
    stderr += text
  })
  const ended = once(child, 'close').then(([code]) => ({ code, stderr }))
  return {
    ended,
    type: text => void typist.write(text),
    shown: () => shown,
    async shows(pattern) {
      try {
        await until(`the terminal shows ${pattern}`, () => pattern.test(shown))
      } catch {
        throw new Error(`the terminal never showed ${pattern}:\n${JSON.stringify(shown)}`)
      }
    },
    isRaw: () => (readTermios(libc, slave).lflag & ICANON) === 0,
    settings: () => JSON.stringify(readTermios(libc, slave)),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
      closeSync(slave)
      typist.destroy()
      if (!typist.closed) await new Promise(resolve => typist.once('close', resolve))
    },
  }
}

/** Within a session of its own, whose terminal this is. */
const atHome = (words: readonly string[], { rows, columns }: { rows: number; columns: number }) => [
  ...['setsid', '-cw', 'sh', '-c', `stty rows ${rows} cols ${columns}; exec "$@" 2>&1`, 'sh'],
  ...words,
]
