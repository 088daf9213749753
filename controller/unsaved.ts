import type { Logger } from '#telemetry/log.ts'
import type { Mirror } from './mirror.ts'
import { type Op, StoreError } from './store/store.ts'

/**
 * What is too urgent to wait for a disk that takes nothing: it is in effect here at once, as if it had been written, and
 * is written as soon as the store can. Until then it dies with this process, so nobody may be told that it is done.
 */
export interface Unsaved extends Disposable {
  /** `attempt` writes it: false when a condition did not hold, and it has to be tried again at once. */
  add(id: string, ops: readonly Op[], attempt: () => Promise<boolean>): void
  has(id: string): boolean
}

interface Pending {
  readonly ops: readonly Op[]
  readonly attempt: () => Promise<boolean>
}

const shortestPauseMs = 250
const longestPauseMs = 5_000

/** Did the store fail to write, rather than refuse what makes no sense? */
export const isStoreDown = (thrown: unknown): boolean =>
  thrown instanceof StoreError && thrown.kind !== 'Compacted'

export function openUnsaved({ mirror, log }: { mirror: Mirror; log: Logger }): Unsaved {
  const pending = new Map<string, Pending>()
  let timer: NodeJS.Timeout | undefined
  let pauseMs = shortestPauseMs
  let closed = false

  function later(): void {
    if (closed || pending.size === 0) return
    timer ??= setTimeout(() => {
      timer = undefined
      void round()
    }, pauseMs)
    pauseMs = Math.min(longestPauseMs, pauseMs * 2)
  }

  async function round(): Promise<void> {
    try {
      for (const [id, { attempt }] of pending) {
        while (!(await attempt())) if (closed) return
        pending.delete(id)
        log.info({ event: 'store.caught-up', row: id }, 'what was in effect already is on disk now')
      }
      pauseMs = shortestPauseMs
    } catch (error) {
      log.debug({ event: 'store.still-down', error }, 'it is tried again')
    }
    later()
  }

  // What is read anew from the store does not know of it.
  const stop = mirror.onChange(({ everything }) => {
    if (everything) for (const { ops } of pending.values()) mirror.anticipate(ops)
  })

  return {
    add(id, ops, attempt) {
      pending.set(id, { ops, attempt })
      mirror.anticipate(ops)
      pauseMs = shortestPauseMs
      later()
    },
    has: id => pending.has(id),
    [Symbol.dispose]() {
      closed = true
      clearTimeout(timer)
      stop()
      if (pending.size > 0)
        log.error(
          { event: 'store.not-caught-up', rows: [...pending.keys()] },
          'the controller stops with what is not on disk: it does not know of it when it starts again',
        )
    },
  }
}
