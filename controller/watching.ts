import { RelayError } from '#relay/errors.ts'

type Source = (changed: () => void) => () => void

export interface Watch<T> {
  readonly caller: string
  /** Watches of one subject share one look; so it has to say all that `look` depends on. */
  readonly subject: string
  look(): T
  readonly signal: AbortSignal
  /** Changes that come in quicker succession are gathered. */
  readonly pauseMs?: number
}

/**
 * One answer now, and another after each change: what every `-w` is made of. Changes are gathered and looks are shared,
 * so that a busy fleet costs its watchers, however many they are, a few looks a second and no more.
 */
export interface Watches {
  watch<T>(watch: Watch<T>): AsyncGenerator<T>
}

const mostOfOneCaller = 32
/** A look that takes long is taken less often: all of them leave the most of the time to others. */
const restPerLook = 20

interface Sight {
  watchers: number
  /** Brings `current` up to date if anything changed since. */
  refresh(): void
  readonly current: { readonly value: unknown }
  readonly waiting: Set<() => void>
  close(): void
}

export function openWatches(sources: readonly Source[]): Watches {
  const sights = new Map<string, Sight>()
  const callers = new Map<string, number>()

  function enter(caller: string): void {
    const open = callers.get(caller) ?? 0
    if (open >= mostOfOneCaller) {
      throw new RelayError('exhausted', {
        what: 'watch',
        why: `${caller} has ${mostOfOneCaller} watches open already`,
        fix: 'End some of them first',
      })
    }
    callers.set(caller, open + 1)
  }

  function leave(caller: string): void {
    const open = (callers.get(caller) ?? 1) - 1
    if (open === 0) callers.delete(caller)
    else callers.set(caller, open)
  }

  return {
    async *watch<T>({ caller, subject, look, signal, pauseMs = 200 }: Watch<T>) {
      enter(caller)
      let sight = sights.get(subject)
      let wake: (() => void) | undefined
      const note = () => wake?.()
      try {
        sight ??= openSight(sources, look, pauseMs)
        sights.set(subject, sight)
        sight.watchers++
        sight.waiting.add(note)
        signal.addEventListener('abort', note)
        sight.refresh()
        let seen: Sight['current'] | undefined
        while (!signal.aborted) {
          if (seen === sight.current) {
            await new Promise<void>(resolve => {
              wake = resolve
            })
          } else {
            seen = sight.current
            yield (await seen.value) as T
          }
        }
      } finally {
        leave(caller)
        signal.removeEventListener('abort', note)
        if (sight) {
          sight.waiting.delete(note)
          if (--sight.watchers === 0) {
            sights.delete(subject)
            sight.close()
          }
        }
      }
    },
  }
}

function openSight(sources: readonly Source[], look: () => unknown, pauseMs: number): Sight {
  const waiting = new Set<() => void>()
  let current: Sight['current'] = { value: undefined }
  let stale = true
  let timer: NodeJS.Timeout | undefined
  let notBefore = 0

  function refresh(): void {
    if (!stale) return
    stale = false
    clearTimeout(timer)
    timer = undefined
    const began = performance.now()
    current = { value: lookOnce() }
    const ended = performance.now()
    notBefore = ended + Math.max(pauseMs, restPerLook * (ended - began))
    for (const wake of waiting) wake()
  }

  /** What cannot be seen fails with whoever reads it, and not in a timer. */
  function lookOnce(): unknown {
    try {
      return look()
    } catch (thrown) {
      const failure = Promise.reject(thrown)
      failure.catch(() => {})
      return failure
    }
  }

  const changed = () => {
    if (stale) return
    stale = true
    timer = setTimeout(refresh, Math.max(0, notBefore - performance.now()))
  }
  const unsubscribe = sources.map(subscribe => subscribe(changed))
  return {
    watchers: 0,
    refresh,
    waiting,
    get current() {
      return current
    },
    close() {
      clearTimeout(timer)
      for (const stop of unsubscribe) stop()
    },
  }
}
