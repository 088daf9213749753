import type { DatabaseSync } from 'node:sqlite'
import { type Rev, StoreError, storeClosed } from '../store.ts'
import { commitFailed, unavailable } from './failure.ts'

/** The counters of the store, one row on disk. */
export interface State {
  rev: Rev
  compacted: Rev
  /** The last row of the log, and the last that was trimmed. */
  audited: bigint
  head: Uint8Array
  trimmed: bigint
  base: Uint8Array
}

export interface GroupCommit {
  /** The counters as of the last commit. */
  readonly committed: Readonly<State>
  /**
   * Runs `work` inside a transaction and resolves with its answer once that is on disk. It may run more than once; a
   * run whose answer is not delivered left no trace in the database, so it must leave none elsewhere.
   */
  submit<T>(work: (state: State) => T): Promise<T>
  /** Settles all that was submitted; what comes later is refused. */
  close(): void
}

interface Pending {
  readonly work: (state: State) => unknown
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
}

/** So many works share a commit at most, so that a flood of them does not hold up everything else for long. */
const largestGroup = 1_000

/**
 * Writing to the disk costs the same for one transaction as for a hundred: all that is submitted in one turn of the
 * event loop is committed as one. Each sees the effects of those before it.
 */
export function createGroupCommit(database: DatabaseSync, onCommit: () => void): GroupCommit {
  const begin = database.prepare('BEGIN IMMEDIATE')
  const commit = database.prepare('COMMIT')
  const rollback = database.prepare('ROLLBACK')
  const load = database.prepare('SELECT rev, compacted, audited, head, trimmed, base FROM state')
  load.setReadBigInts(true)
  const save = database.prepare(
    'UPDATE state SET rev = ?, compacted = ?, audited = ?, head = ?, trimmed = ?, base = ?',
  )
  const read = () => ({ ...(load.get() as unknown as State) })

  let committed = read()
  let queue: Pending[] = []
  let turn: NodeJS.Immediate | undefined
  let closed = false

  function flush() {
    const group = queue.slice(0, largestGroup)
    queue = queue.slice(largestGroup)
    turn = queue.length > 0 ? setImmediate(flush) : undefined
    settle(group)
  }

  function settle(group: readonly Pending[]) {
    let answers: unknown[]
    try {
      answers = run(group)
    } catch (error) {
      // One work that is too large for the disk must not take the others down with it.
      if (group.length > 1 && !isUnknown(error)) for (const one of group) settle([one])
      else for (const { reject } of group) reject(error as Error)
      return
    }
    for (const [i, { resolve }] of group.entries()) resolve(answers[i] as never)
  }

  function run(group: readonly Pending[]): unknown[] {
    const { rev, audited } = committed
    try {
      const state = write(() => begin.run() && read())
      const answers = write(() => {
        const done = group.map(({ work }) => work(state))
        if (!same(state, committed)) {
          const { rev, compacted, audited, head, trimmed, base } = state
          save.run(rev, compacted, audited, head, trimmed, base)
        }
        return done
      })
      confirm()
      committed = state
      return answers
    } catch (error) {
      recover()
      throw error
    } finally {
      if (committed.rev !== rev || committed.audited !== audited) onCommit()
    }
  }

  function write<T>(act: () => T): T {
    try {
      return act()
    } catch (error) {
      throw unavailable(error, 'The store cannot write')
    }
  }

  function confirm() {
    try {
      commit.run()
    } catch (error) {
      throw commitFailed(error)
    }
  }

  function recover() {
    try {
      if (database.isTransaction) rollback.run()
      committed = read()
    } catch {
      // The disk may be gone altogether. The next transaction begins with the same two steps and reports it.
    }
  }

  return {
    get committed() {
      return committed
    },
    submit(work) {
      if (closed) return Promise.reject(storeClosed())
      return new Promise((resolve, reject) => {
        queue.push({ work, resolve, reject })
        turn ??= setImmediate(flush)
      })
    },
    close() {
      closed = true
      while (queue.length > 0) {
        clearImmediate(turn)
        flush()
      }
      clearImmediate(turn)
    },
  }
}

function same(a: State, b: State): boolean {
  return a.rev === b.rev && a.compacted === b.compacted && a.audited === b.audited && a.trimmed === b.trimmed
}

function isUnknown(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'UnknownOutcome'
}
