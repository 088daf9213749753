import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { RelayError } from '#relay/errors.ts'
import type { Fleet } from '../client.ts'
import { usage } from '../failure.ts'
import type { Place } from './place.ts'
import { openRemotePty } from './pty.ts'
import { openRemoteUrl } from './remote-url.ts'
import type { Reservation } from './reservation.ts'

export interface RunOptions extends Reservation {
  readonly quiet: boolean
}

/** What in the words of a program becomes the port. */
const places = { path: '{}', url: '{rfc2217}' } as const
const killAfterMs = 3_000

/** Throws a RelayError `usage` where a program has no place for the port, or two that cannot both have it. */
export function checkCommand(words: readonly string[], { wish }: Pick<Reservation, 'wish'>): void {
  const has = Object.values(places).filter(place => words.some(word => word.includes(place)))
  const what = `serial run … -- ${words.join(' ')}`
  if (has.length === 2 && wish === 'exclusive') {
    const why = `with --exclusive \`${places.path}\` keeps \`${places.url}\` out`
    throw usage(what, why, 'Leave --exclusive out, or keep one of them')
  }
  if (has.length > 0) return
  throw usage(
    what,
    'the program is not told of the port',
    `Write \`${places.path}\` where it takes a device, or \`${places.url}\` where it takes a URL`,
  )
}

/** Runs the program to its end. Answers its exit code; rejects with what took the port away, and then ends it too. */
export async function runWithPort(
  fleet: Fleet,
  place: Place,
  words: readonly string[],
  { quiet, ...reservation }: RunOptions,
): Promise<number> {
  await using held = new AsyncDisposableStack()
  const has = (what: string) => words.some(word => word.includes(what))
  const pty = has(places.path)
    ? held.use(await openRemotePty(fleet, place, { ...reservation, purpose: 'run', quiet, mustWrite: true }))
    : undefined
  const url = has(places.url)
    ? held.use(await openRemoteUrl(fleet, place, { ...reservation, purpose: 'run' }))
    : undefined
  const [file = '', ...args] = words.map(word =>
    word.replaceAll(places.path, pty?.path ?? '').replaceAll(places.url, url?.url ?? ''),
  )
  const child = spawn(file, args, { stdio: 'inherit' })
  /** What the terminal sends to all, the program gets by itself; it decides what comes of it. */
  const ignore = () => {}
  const pass = (signal: NodeJS.Signals) => void child.kill(signal)
  process.on('SIGINT', ignore).on('SIGQUIT', ignore).on('SIGTERM', pass).on('SIGHUP', pass)
  held.defer(() => {
    process.off('SIGINT', ignore).off('SIGQUIT', ignore).off('SIGTERM', pass).off('SIGHUP', pass)
  })
  const ended = once(child, 'close').catch((thrown: unknown) => {
    throw notStarted(file, thrown)
  }) as Promise<[number | null, NodeJS.Signals | null]>
  ended.catch(() => {})
  const over = [pty?.over, url?.over].filter(each => each !== undefined)
  try {
    const [code, signal] = await Promise.race([ended, ...over])
    await pty?.unused()
    return code ?? 128 + (signal ? constants.signals[signal] : 0)
  } catch (thrown) {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs)
      await ended.catch(() => {})
      clearTimeout(timer)
    }
    throw thrown
  }
}

function notStarted(file: string, thrown: unknown): RelayError {
  const what = `program \`${file}\``
  if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') return RelayError.from(thrown, what)
  return new RelayError('not-found', { what, why: 'there is no such program', cause: thrown })
}
