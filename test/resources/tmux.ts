import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { until } from './until.ts'

const execute = promisify(execFile)

/** A real terminal that a program runs in, and a person who types. */
export interface Screen extends AsyncDisposable {
  /** Types text as it is. */
  type(text: string): Promise<void>
  /** Presses keys by tmux's names: `Enter`, `C-c`. */
  press(...keys: string[]): Promise<void>
  /** What is seen now, without blanks at the ends of lines. */
  seen(): Promise<string>
  /** Waits until what is seen matches. */
  shows(pattern: RegExp): Promise<RegExpExecArray>
  /** As when somebody draws its window larger or smaller. */
  resize(columns: number, rows: number): Promise<void>
  /** How its terminal is set, but for its size: `stty -a`. */
  settings(): Promise<string>
  /** The process that was started first: a shell. */
  readonly shell: number
}

/** A shell in a terminal of its own. Disposal ends it with all that it started. */
export async function openScreen(
  env: Readonly<Record<string, string>>,
  { columns = 160, rows = 50 } = {},
): Promise<Screen> {
  const server = `fleetcat-test-${randomBytes(6).toString('hex')}`
  const tmux = async (...args: string[]) => (await execute('tmux', ['-L', server, ...args])).stdout
  const size = ['-x', String(columns), '-y', String(rows)]
  // Words, which no shell looks at: it would put some of them right.
  const given = Object.entries({ ...env, HISTFILE: '', PS1: 'ready$ ' }).map(
    ([name, value]) => `${name}=${value}`,
  )
  const shellWords = ['env', ...given, 'bash', '--norc', '--noprofile', '-i']
  await tmux('-f', '/dev/null', 'new-session', '-d', ...size, ...shellWords)
  const seen = async () => (await tmux('capture-pane', '-p', '-J')).replace(/[ \t]+$/gm, '').trimEnd()
  const shell = Number(await tmux('display-message', '-p', '#{pane_pid}'))
  const screen: Screen = {
    shell,
    type: async text => void (await tmux('send-keys', '-l', '--', text)),
    press: async (...keys) => void (await tmux('send-keys', ...keys)),
    seen,
    async shows(pattern) {
      let last = ''
      try {
        return await until(`the screen shows ${pattern}`, async () => {
          last = await seen()
          return pattern.exec(last)
        })
      } catch {
        throw new Error(`the screen never showed ${pattern}:\n${last}`)
      }
    },
    resize: async (width, height) =>
      void (await tmux('resize-window', '-x', String(width), '-y', String(height))),
    async settings() {
      const tty = (await tmux('display-message', '-p', '#{pane_tty}')).trim()
      return (await execute('stty', ['-F', tty, '-a'])).stdout.replace(/rows \d+; columns \d+; /, '')
    },
    async [Symbol.asyncDispose]() {
      await tmux('kill-server').catch(() => {})
    },
  }
  await screen.shows(/ready\$/)
  return screen
}
