import { setImmediate } from 'node:timers/promises'
import { checkPrefix } from './keys.ts'
import { type AuditRow, type Rev, type Revision, StoreError } from './store.ts'

/** What an implementation keeps so that watches can be read from it, as deep as it goes. */
export interface History {
  /** The last revision committed, and the highest one discarded; undefined once the store is closed. */
  position(): Position | undefined
  /** The first revision after `after` that touched the prefix, with the events under the prefix only. */
  next(prefix: string, after: Rev): Revision | undefined
  /** Rung after every commit, after every row of the log, and when the store closes. */
  readonly bell: Bell
}

export interface Position {
  readonly rev: Rev
  readonly compacted: Rev
}

export interface Bell {
  ring(): void
  /** Resolves at the next ring, or when the signal aborts. */
  heard(signal: AbortSignal): Promise<void>
}

export function createBell(): Bell {
  const waiting = new Set<() => void>()
  return {
    ring() {
      for (const wake of [...waiting]) wake()
    },
    heard(signal) {
      return new Promise(resolve => {
        const wake = () => {
          waiting.delete(wake)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        waiting.add(wake)
        signal.addEventListener('abort', wake)
      })
    },
  }
}

/** A reader that is far behind takes a breath after so many revisions, so that it does not starve everybody else. */
const breath = 64

/** The watch of every store that has a History: one revision at a time, read when it is asked for. */
export async function* follow(history: History, prefix: string, from: Rev, signal: AbortSignal) {
  checkPrefix(prefix)
  let cursor = from
  for (let read = 1; !signal.aborted; read++) {
    const position = history.position()
    if (!position) return
    if (cursor < position.compacted || cursor > position.rev) throw compacted(prefix, cursor, position)
    const revision = history.next(prefix, cursor)
    if (revision) {
      cursor = revision.rev
      yield revision
      if (read % breath === 0) await setImmediate()
    } else {
      // Nothing under this prefix up to here. A quiet prefix must not be overtaken by the compaction of a busy one.
      cursor = position.rev
      await history.bell.heard(signal)
    }
  }
}

/** The rows of the log, in pages that are read when they are asked for. */
export async function* followRows(
  log: { bell: Bell; read(after: bigint, limit: number): AuditRow[]; isClosed(): boolean },
  after: bigint,
  signal: AbortSignal,
): AsyncGenerator<AuditRow> {
  let cursor = after
  while (!signal.aborted && !log.isClosed()) {
    const page = log.read(cursor, breath)
    for (const row of page) {
      cursor = row.seq
      yield row
      if (signal.aborted) return
    }
    if (page.length === breath) await setImmediate()
    else if (page.length === 0 && !log.isClosed()) await log.bell.heard(signal)
  }
}

/**
 * Automatic compaction: how far the history may be discarded, keeping at least the last `keep` revisions. It goes in
 * strides of a tenth, because discarding one revision with every commit would cost every commit.
 */
export function discardable({ rev, compacted }: Position, keep: bigint): Rev {
  return rev - compacted > keep + keep / 10n ? rev - keep : compacted
}

function compacted(prefix: string, cursor: Rev, position: Position): StoreError {
  return new StoreError('Compacted', {
    what: `The watch of ${prefix === '' ? 'everything' : prefix} cannot go on from revision ${cursor}`,
    why: `the store has the revisions ${position.compacted + 1n} to ${position.rev}`,
    fix: 'List anew and watch from the revision of that list',
  })
}
