import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../../fleetcat', import.meta.url))

export interface Answer {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly home?: string
  readonly stdin?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs the real program, as a script would, in an environment of its own. */
export async function fleetcat(words: readonly string[], options: RunOptions = {}): Promise<Answer> {
  const child = spawn(launcher, words, { env: environment(options), stdio: 'pipe' })
  child.stdin.on('error', () => {})
  child.stdin.end(options.stdin ?? '')
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  return { code, stdout, stderr }
}

/** A program that keeps running until it is disposed; then it is asked to stop, and waited for. */
export function start(words: readonly string[], options: RunOptions = {}) {
  const child = spawn(launcher, words, { env: environment(options), stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close') as Promise<[number | null]>
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', chunk => {
    stderr += chunk
  })
  child.stdout.setEncoding('utf8')
  return {
    child,
    stderr: () => stderr,
    exited: async () => (await closed)[0],
    async stop(signal: NodeJS.Signals): Promise<number | null> {
      child.kill(signal)
      const [code] = await closed
      return code
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      await closed
    },
  }
}

function environment({ home = '/nonexistent', env = {} }: RunOptions): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env
  return { PATH, HOME, FLEETCAT_HOME: home, ...env }
}

/** A directory that is gone when the test is. */
export async function temporary(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'fleetcat-cli-'))
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true })
    },
  }
}
