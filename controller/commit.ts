import type { Mirror } from './mirror.ts'
import type { Condition, Op, Rev, Store } from './store/store.ts'

/**
 * Writes, and resolves once the mirror shows what was written: whoever is answered after it reads their own write.
 * Nothing when a condition did not hold and nothing was done.
 */
export type Commit = (ifs: readonly Condition[], ops: readonly Op[]) => Promise<Rev | undefined>

export function openCommit(store: Store, mirror: Pick<Mirror, 'caughtUp'>): Commit {
  return async (ifs, ops) => {
    const result = await store.txn(ifs, ops)
    if (!result.ok) return undefined
    await mirror.caughtUp(result.rev)
    return result.rev
  }
}
