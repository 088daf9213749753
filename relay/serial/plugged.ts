import { readlink, realpath, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { openPort, type PortOptions } from './open-port.ts'
import type { SerialPort } from './port.ts'
import { namesOf } from './ports.ts'

/** Told of a device that comes and goes. Must not throw. */
export interface PluggedEvents {
  /** It is there. `again`: it was away. */
  readonly opened: (port: SerialPort, again: boolean) => void
  /** It has gone, and is waited for; or, with `willWait` false, that was all. */
  readonly gone: (error: RelayError, willWait: boolean) => void
}

/** One device, opened again whenever it comes back. */
export interface PluggedDevice extends AsyncDisposable {
  /** Undefined while it is away. */
  readonly port: SerialPort | undefined
  /** It is away, and waited for. */
  readonly awaited: boolean
  /** Opens it for the first time. Rejects with a RelayError; it may be called again then. */
  open(): Promise<void>
  /** From now on it is waited for, if it is not there. */
  await(): void
}

export interface PluggedOptions {
  readonly path: string
  readonly port: PortOptions
  /** After it has gone, wait for it. */
  readonly returns: boolean
  /** Where names of devices are looked up. */
  readonly root?: string | undefined
}

const lookEveryMs = 250

/**
 * A device that comes back may have another number by then, and its old number may be another device's: it is looked for
 * under the name that stays with it, if it has one, and a path that is a link is such a name.
 */
export function pluggedDevice(
  { path, port: options, returns, root = '/' }: PluggedOptions,
  cx: OpenContext,
  events: PluggedEvents,
): PluggedDevice {
  const closing = new AbortController()
  const opening = { ...cx, signal: closing.signal }
  let port: SerialPort | undefined
  let name: string | undefined
  let waiting: Promise<void> | undefined

  const start = async (at: string, again: boolean) => {
    const opened = await openPort(at, options, opening)
    if (closing.signal.aborted) {
      await opened[Symbol.asyncDispose]()
      return
    }
    port = opened
    name ??= (await realpath(path).catch(() => path)) === path ? (await namesOf(path, root))[0] : path
    opened.stream.once('close', () => {
      if (port !== opened || closing.signal.aborted) return
      port = undefined
      const error = RelayError.from(opened.stream.errored ?? closedAlone(path), path)
      events.gone(error, returns)
      const disposed = Promise.resolve(opened[Symbol.asyncDispose]())
      if (returns) wait(disposed)
      else waiting = disposed
    })
    events.opened(opened, again)
  }

  const whereNow = async (): Promise<string> =>
    name === undefined || name === path ? path : resolve(dirname(name), await readlink(join(root, name)))

  const wait = (after: Promise<void> = Promise.resolve()) => {
    waiting = (async () => {
      await after
      for (;;) {
        await sleep(lookEveryMs, undefined, { signal: closing.signal }).catch(() => {})
        if (closing.signal.aborted) return
        try {
          const at = await whereNow()
          await stat(at)
          await start(at, true)
          waiting = undefined
          return
        } catch {
          // Not there yet, in use meanwhile, or its settings are not for the one that came: it is tried again.
        }
      }
    })()
  }

  return {
    get port() {
      return port
    },
    get awaited() {
      return !port && waiting !== undefined
    },
    async open() {
      if (!port) await start(path, false)
    },
    await() {
      if (!port && !waiting) wait()
    },
    async [Symbol.asyncDispose]() {
      closing.abort(closedAlone(path))
      await waiting
      await port?.[Symbol.asyncDispose]()
      port = undefined
    },
  }
}

function closedAlone(path: string): RelayError {
  return new RelayError('closed', { what: path, why: 'the port was closed' })
}
