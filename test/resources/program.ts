import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export const root = join(import.meta.dirname, '../..')
export const launcher = join(root, 'fleetcat')

export interface ProgramOptions {
  readonly env?: Record<string, string>
  /** Given on stdin, which then ends. */
  readonly input?: string
  /** A network namespace to run in. */
  readonly netns?: string
  readonly cwd?: string
}

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that runs until the test is done with it. Disposal kills it and all that it started, and waits for the end. */
export interface Program extends AsyncDisposable {
  readonly pid: number
  readonly ended: Promise<Outcome>
  output(): string
  /** Waits until its stdout and stderr together match. Rejects with both when it ends first. */
  says(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
}

function begin(command: readonly string[], { env, netns, cwd }: ProgramOptions): ChildProcess {
  const [program = '', ...args] = netns ? ['ip', 'netns', 'exec', netns, ...command] : command
  return spawn(program, args, {
    cwd,
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: 'pipe',
    detached: true,
  })
}

export function startProgram(command: readonly string[], options: ProgramOptions = {}): Program {
  const child = begin(command, options)
  let stdout = ''
  let stderr = ''
  const listeners = new Set<() => void>()
  const heard = () => {
    for (const listener of listeners) listener()
  }
  child.stdout?.setEncoding('utf8').on('data', text => {
    stdout += text
    heard()
  })
  child.stderr?.setEncoding('utf8').on('data', text => {
    stderr += text
    heard()
  })
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input ?? '')
  const ended = once(child, 'close').then(([code]) => ({ code, stdout, stderr }))
  const said = () => stdout + stderr

  return {
    pid: child.pid ?? -1,
    ended,
    output: said,
    kill: signal => void child.kill(signal),
    says: pattern =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(said())
          if (!found) return
          listeners.delete(look)
          resolve(found)
        }
        listeners.add(look)
        ended.then(() => reject(new Error(`it ended and never said ${pattern}:\n${said()}`)))
        look()
      }),
    async [Symbol.asyncDispose]() {
      try {
        // Its own process group: what it forked would keep the pipes open.
        process.kill(-(child.pid ?? 0), 'SIGKILL')
      } catch {
        // all of them have ended by themselves
      }
      await ended
    },
  }
}

/** Runs a program to its end. */
export async function run(command: readonly string[], options: ProgramOptions = {}): Promise<Outcome> {
  await using program = startProgram(command, options)
  return await program.ended
}
