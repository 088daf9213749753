import type { Logger } from '#telemetry/log.ts'
import { type Note, rowOf, say } from './audit/note.ts'
import type { Mirror } from './mirror.ts'
import type { Condition, Op, Rev, Store } from './store/store.ts'

/**
 * Writes, and resolves once the mirror shows what was written: whoever is answered after it reads their own write.
 * Nothing when a condition did not hold and nothing was done.
 *
 * What somebody asked for is noted: the row of the audit log is on disk with the change or neither is, and the log of
 * this process says the same afterwards.
 */
export type Commit = (ifs: readonly Condition[], ops: readonly Op[], note?: Note) => Promise<Rev | undefined>

export function openCommit(store: Store, mirror: Pick<Mirror, 'caughtUp'>, log: Logger): Commit {
  return async (ifs, ops, note) => {
    const result = await store.txn(ifs, ops, { audit: note ? [rowOf(note)] : [] })
    if (!result.ok) return undefined
    if (note) say(log, note)
    await mirror.caughtUp(result.rev)
    return result.rev
  }
}
