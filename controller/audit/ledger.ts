import type { Logger } from '#telemetry/log.ts'
import { localActor } from '../actor.ts'
import type { Store } from '../store/store.ts'
import { openBudget } from './budget.ts'
import { type Note, rowOf, say } from './note.ts'

/** Rows for what changes nothing in the store. What does change it brings its row along: see `Commit`. */
export interface Ledger {
  /** Resolves when the row is on disk; rejects as the store does, and then nothing may be done. */
  write(note: Note): Promise<void>
  /** Nobody waits for the row. What cannot be written is in the log of this process all the same. */
  keep(note: Note): void
  /**
   * The row alone, for what the log of this process tells already. Strangers get no more rows than the budget has, and
   * then one that says how many are missing: nobody can fill the disk, or push the rows of others out of the log.
   */
  record(note: Note): void
}

export function openLedger(store: Store, log: Logger): Ledger {
  const budget = openBudget()
  let failing = false

  function record(note: Note): void {
    const missing = note.by.kind === 'stranger' ? budget.take() : 0
    if (missing !== undefined) append(missing > 0 ? [leftOut(missing), note] : [note])
  }

  function append(notes: readonly Note[]): void {
    const kept = () => {
      failing = false
    }
    store.audit.append(notes.map(rowOf)).then(kept, error => {
      // Once for each time that the disk fails, and not for each row.
      if (!failing)
        log.error({ event: 'audit.not-kept', error }, 'rows of the audit log could not be written')
      failing = true
    })
  }

  return {
    async write(note) {
      await store.audit.append([rowOf(note)])
      say(log, note)
    },
    keep(note) {
      say(log, note)
      record(note)
    },
    record,
  }
}

const leftOut = (count: number): Note => ({
  by: localActor,
  event: 'audit.left-out',
  outcome: 'alert',
  fields: { count },
  words: 'so many rows about strangers were not written: there were too many at once',
})
