import { type ChildProcess, execFile, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

/** A child process. Disposal ends it, by its pid, and waits until it has gone. */
export interface Program extends AsyncDisposable {
  readonly pid: number
}

const patienceMs = 10_000

/** Starts a program in the foreground. It has started once it has a pid; what it says on stderr goes to `heard`. */
export async function start(
  command: string,
  words: readonly string[],
  { env = process.env, heard = (_: string) => {} } = {},
): Promise<Program> {
  const child = spawn(command, words, { stdio: ['ignore', 'ignore', 'pipe'], env })
  child.stderr.setEncoding('utf8').on('data', heard)
  await once(child, 'spawn')
  return { pid: child.pid!, [Symbol.asyncDispose]: () => end(child) }
}

/** A Node program of ours that answers one question at a time. It ends by itself when we are gone. */
export interface Helper<Question, Answer> extends Program {
  ask(question: Question): Promise<Answer>
}

export async function startHelper<Question extends object, Answer>(
  file: string,
): Promise<Helper<Question, Answer>> {
  const child = fork(join(import.meta.dirname, 'programs', file), { serialization: 'advanced' })
  await once(child, 'spawn')
  const gone = once(child, 'exit').then(([code, signal]) => ({
    error: `it ended with ${code ?? signal}`,
    value: undefined,
  }))
  return {
    pid: child.pid!,
    async ask(question) {
      const answer = Promise.race([once(child, 'message').then(([message]) => message), gone])
      child.send(question)
      const { error, value } = await answer
      if (error) throw new Error(`${file}: ${error}`)
      return value as Answer
    },
    [Symbol.asyncDispose]: () => end(child),
  }
}

/** The other half of `startHelper`. */
export function answerQuestions<Question>(answer: (question: Question) => Promise<unknown>): void {
  process.on('message', question => {
    answer(question as Question).then(
      value => process.send?.({ value }),
      thrown => process.send?.({ error: thrown instanceof Error ? thrown.stack : String(thrown) }),
    )
  })
  process.once('disconnect', () => process.exit())
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const patience = setTimeout(() => child.kill('SIGKILL'), patienceMs)
  await gone
  clearTimeout(patience)
}

/** Runs a program to its end; its output, on stdout and stderr together. */
export async function outputOf(
  command: string,
  words: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, words, { env, timeout: 60_000 })
    return stdout + stderr
  } catch (thrown) {
    const { stdout = '', stderr = '' } = thrown as { stdout?: string; stderr?: string }
    throw new Error(`${[command, ...words].join(' ')} failed: ${stdout}${stderr}`, { cause: thrown })
  }
}

/** The path of a program, or undefined where there is none. System programs are not on every user's PATH. */
export function find(program: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']
  return folders.map(folder => join(folder, program)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Resolves once something accepts connections on this port of the loopback. */
export async function accepting(port: number): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    if (await accepts(port)) return
    if (performance.now() > deadline) throw new Error(`nothing listens on port ${port}`)
    await delay(20)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
