import { checkKey, usage } from './keys.ts'
import type { AuditDraft, Condition, Op } from './store.ts'

/** A transaction that was checked and copied: nothing that the caller does later can change it. */
export interface Transaction {
  readonly ifs: readonly Condition[]
  readonly ops: readonly Op[]
  readonly audit: readonly AuditDraft[]
}

export function transaction(
  ifs: readonly Condition[],
  ops: readonly Op[],
  audit: readonly AuditDraft[] = [],
): Transaction {
  const written = new Set<string>()
  for (const op of ops) {
    const { key } = 'put' in op ? op.put : op.delete
    if (written.has(key)) throw usage(`The key ${key} is refused`, 'the transaction writes it twice')
    written.add(key)
  }
  return { ifs: ifs.map(copyCondition), ops: ops.map(copyOp), audit: copyRows(audit) }
}

export function copyRows(rows: readonly AuditDraft[]): AuditDraft[] {
  return rows.map(({ at, bytes }) => {
    if (!Number.isSafeInteger(at))
      throw usage('The audit row is refused', `its time ${at} is not a whole number`)
    return { at, bytes: new Uint8Array(bytes) }
  })
}

function copyCondition({ key, modRev }: Condition): Condition {
  return { key: checkKey(key), modRev }
}

function copyOp(op: Op): Op {
  if ('delete' in op) return { delete: { key: checkKey(op.delete.key) } }
  return { put: { key: checkKey(op.put.key), value: new Uint8Array(op.put.value) } }
}
