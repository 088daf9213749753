import { type ChildProcess, spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel, OpenContext } from '../endpoint.ts'
import { type ErrorCode, RelayError } from '../errors.ts'
import { beginGuarding } from './guardian.ts'
import { keepDescriptors } from './keep-descriptors.ts'
import type { Command } from './launch.ts'
import type { ProgramPolicy } from './policy.ts'
import { type ProcessTree, processTree } from './process-tree.ts'
import { eachLine } from './stderr-lines.ts'
import type { Wiring } from './wiring.ts'

export interface Start {
  /** The address as the ceiling sees it. */
  readonly what: string
  readonly command: Command
  readonly directory: string
  readonly environment: Readonly<Record<string, string>>
  /** Of all that comes of it: see `processTree`. */
  readonly mark: string
  readonly policy: ProgramPolicy
  readonly fdin: number
  readonly fdout: number
  readonly mergesErrors: boolean
  readonly ownSession: boolean
  /** A tool of the chain makes the session. */
  readonly toolMakesSession: boolean
  /** Of `write`, nobody waits for what it says; of `read`, it is told nothing. */
  readonly uses: OpenContext['uses']
  readonly passesOn: readonly NodeJS.Signals[]
  /** At the end it is left alone. */
  readonly stays: boolean
}

/** How long a program that has heard all and said all may take to end by itself, before it is told to. */
const patienceMs = 5_000
/** How long it may take to obey, before it is killed. */
const graceMs = 1_000

/** Cuts that nobody is asked to obey. */
const atOnce: ReadonlySet<ErrorCode> = new Set(['revoked', 'expired', 'out-of-hours', 'lapsed', 'denied'])

/** Starts a program behind the wiring, which it takes over. Rejects with a RelayError, and then nothing runs. */
export async function startProgram(start: Start, wiring: Wiring, cx: OpenContext): Promise<Channel> {
  const { what, policy } = start
  if (policy.rights === 'confined') {
    beginGuarding()
    await keepDescriptors(what)
  }
  let child: ChildProcess
  try {
    child = await spawned(start, wiring)
  } catch (error) {
    wiring.stream.destroy()
    throw explained(error, start)
  } finally {
    wiring.handedOver()
  }
  const { said } = policy
  if (child.stderr && said) {
    eachLine(child.stderr, line => said({ line, program: what, client: cx.client?.text }))
  }
  const root = {
    pid: child.pid!,
    mark: start.mark,
    leads: start.ownSession || start.toolMakesSession,
    isOver: () => child.exitCode !== null || child.signalCode !== null,
  }
  return programChannel(child, wiring, processTree(root), start)
}

function spawned(start: Start, { input, output }: Wiring): Promise<ChildProcess> {
  const { command, directory, environment, ownSession } = start
  const { file, args, argv0 } = command
  const child = spawn(file, args, {
    ...(argv0 !== undefined && { argv0 }),
    cwd: directory,
    env: environment,
    stdio: descriptors(start, input, output),
    detached: ownSession,
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('spawn', () => {
      child.off('error', reject)
      child.on('error', () => {})
      resolve(child)
    })
  })
}

type Descriptor = number | 'ignore' | 'inherit' | 'pipe'

function descriptors({ fdin, fdout, mergesErrors, policy, uses }: Start, input: number, output: number) {
  const rest = policy.rights === 'own' ? 'inherit' : 'ignore'
  const list: Descriptor[] = [rest, rest, policy.said && policy.rights === 'confined' ? 'pipe' : rest]
  while (list.length <= Math.max(fdin, fdout)) list.push('ignore')
  if (mergesErrors) list[2] = output
  // As with socat, what the relay does not use stays what it is for whoever runs the relay; others get nothing there.
  if (uses !== 'read') list[fdin] = input
  if (uses !== 'write') list[fdout] = output
  return list
}

function explained(error: unknown, { what, directory }: Start): RelayError {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' && !isDirectory(directory)) {
    const why = `there is no directory ${directory} to start it in`
    return new RelayError('not-found', { what, why, fix: 'Correct `chdir`', cause: error })
  }
  if (code === 'E2BIG') {
    const why = 'its words and its environment are more than the kernel hands over (E2BIG)'
    return new RelayError('usage', { what, why, fix: 'Put what is long into a file', cause: error })
  }
  if (code === 'EAGAIN') {
    const why = 'this user may have no more processes (EAGAIN)'
    return new RelayError('exhausted', { what, why, fix: 'Raise `ulimit -u`', cause: error })
  }
  return RelayError.from(error, what)
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** Its descriptors are gone, and it and all that came of it have ended, when its disposal resolves. */
function programChannel(child: ChildProcess, { stream }: Wiring, tree: ProcessTree, start: Start): Channel {
  const { what, stays } = start
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  const forget = passOn(child, start.passesOn)
  let verdict: RelayError | undefined
  let isEnding = false
  let cut: RelayError | undefined
  let ending: Promise<void> | undefined
  child.once('exit', (code, signal) => {
    if (!isEnding) verdict = verdictOf(what, code, signal)
  })
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  stream.on('error', () => {})

  async function end(): Promise<void> {
    // Both ways are over, or the only one that there is.
    const { uses } = start
    const isDone = (stream.writableFinished || uses === 'read') && (stream.readableEnded || uses === 'write')
    stream.destroy()
    await closed
    if (!stays) await endProcesses(isDone && !cut)
    forget()
    // Nobody can write to it any more; what has been written is still told.
    if (child.stderr && !stays) await within(endOf(child.stderr), graceMs)
    child.stderr?.destroy()
    if (stays) child.unref()
  }

  async function endProcesses(isDone: boolean): Promise<void> {
    if (isDone) await within(exited, patienceMs)
    isEnding = true
    await tree.end(cut && atOnce.has(cut.code) ? 0 : graceMs)
    await exited
  }

  return {
    stream,
    framing: 'stream',
    peer: { text: what },
    verdict: () => verdict,
    abort(reason) {
      cut ??= reason
      stream.destroy()
      ending ??= end()
    },
    [Symbol.asyncDispose]() {
      ending ??= end()
      return ending
    },
  }
}

function verdictOf(what: string, code: number | null, signal: NodeJS.Signals | null): RelayError | undefined {
  if (code === 0) return undefined
  const why = signal ? `it was ended by ${signal}` : `it exited with status ${code}`
  return new RelayError('closed', { what, why })
}

function endOf(stream: Readable): Promise<void> {
  if (stream.closed || stream.readableEnded) return Promise.resolve()
  return new Promise(resolve => stream.once('close', () => resolve()))
}

async function within(event: Promise<void>, ms: number): Promise<void> {
  const waiting = new AbortController()
  await Promise.race([event, sleep(ms, undefined, { signal: waiting.signal }).catch(() => {})])
  waiting.abort()
}

function passOn(child: ChildProcess, signals: readonly NodeJS.Signals[]): () => void {
  const pass = (name: NodeJS.Signals) => void child.kill(name)
  for (const name of signals) process.on(name, pass)
  return () => {
    for (const name of signals) process.off(name, pass)
  }
}
