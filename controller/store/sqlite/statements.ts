import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { hashOf, type Link } from '#telemetry/audit/chain.ts'
import { discardable } from '../history.ts'
import { endOfPrefix } from '../keys.ts'
import type { AuditDraft, AuditRow, Entry, Op, Rev, Revision, TxnResult } from '../store.ts'
import type { Transaction } from '../transaction.ts'
import type { State } from './commit.ts'

const columns = 'key, create_rev AS createRev, mod_rev AS modRev, value'

/** SQLite sorts every blob above every text, which makes this the end of a range that has none. */
const aboveAllKeys = new Uint8Array([0])

interface HistoryRow {
  readonly rev: Rev
  readonly key: string
  readonly createRev: Rev
  /** None: the key was deleted. */
  readonly value: Uint8Array | null
}

/**
 * What the store does, in SQL. The acts that take the State belong into a transaction and keep its counters; the others
 * only read.
 */
export function createStatements(database: DatabaseSync, keep: bigint) {
  const find = prepare(`SELECT ${columns} FROM entries WHERE key = ?`)
  const range = prepare(
    `SELECT ${columns} FROM entries WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?`,
  )
  const put = prepare(
    `INSERT INTO entries (key, create_rev, mod_rev, value) VALUES (?1, ?2, ?2, ?3)
     ON CONFLICT DO UPDATE SET mod_rev = excluded.mod_rev, value = excluded.value RETURNING create_rev AS createRev`,
  )
  const remove = prepare('DELETE FROM entries WHERE key = ?')
  const record = prepare('INSERT INTO history (rev, place, key, create_rev, value) VALUES (?, ?, ?, ?, ?)')
  const forget = prepare('DELETE FROM history WHERE rev <= ?')
  const following = prepare(
    `SELECT rev, key, create_rev AS createRev, value FROM history
     WHERE rev = (SELECT rev FROM history WHERE rev > ?1 AND key >= ?2 AND key < ?3 ORDER BY rev LIMIT 1)
       AND key >= ?2 AND key < ?3 ORDER BY place`,
  )
  const audit = prepare('INSERT INTO audit (seq, at, bytes, hash) VALUES (?, ?, ?, ?)')
  const auditAfter = prepare('SELECT seq, at, bytes, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?')
  const lastBelow = prepare('SELECT seq, hash FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT 1')
  const trim = prepare('DELETE FROM audit WHERE seq < ?')

  function prepare(sql: string): StatementSync {
    const statement = database.prepare(sql)
    statement.setReadBigInts(true)
    return statement
  }

  function get(key: string): Entry | undefined {
    return rowsOf<Entry>(find, key)[0]
  }

  function present(key: string) {
    const entry = get(key)
    return entry ? { key, entry } : { key }
  }

  function change(op: Op, rev: Rev, place: number): boolean {
    if ('put' in op) {
      const { key, value } = op.put
      const [{ createRev }] = rowsOf<{ createRev: Rev }>(put, key, rev, value) as [{ createRev: Rev }]
      record.run(rev, place, key, createRev, value)
      return true
    }
    if (remove.run(op.delete.key).changes === 0n) return false
    record.run(rev, place, op.delete.key, null, null)
    return true
  }

  function transact(state: State, { ifs, ops, audit }: Transaction): TxnResult {
    const failed = ifs.filter(({ key, modRev }) => (get(key)?.modRev ?? 0n) !== modRev)
    if (failed.length > 0) return { ok: false, current: failed.map(({ key }) => present(key)) }
    const rev = state.rev + 1n
    let changes = 0
    for (const op of ops) if (change(op, rev, changes)) changes++
    if (changes > 0) state.rev = rev
    append(state, audit)
    discard(state, discardable(state, keep))
    return { ok: true, rev: state.rev }
  }

  function append(state: State, rows: readonly AuditDraft[]): bigint {
    for (const { at, bytes } of rows) {
      state.audited++
      state.head = hashOf(state.head, { seq: state.audited, at, bytes })
      audit.run(state.audited, at, bytes, state.head)
    }
    return state.audited
  }

  function discard(state: State, upTo: Rev): void {
    if (upTo <= state.compacted) return
    forget.run(upTo)
    state.compacted = upTo
  }

  return {
    get,
    list(prefix: string, after: string | undefined, limit: number): { items: Entry[]; more: boolean } {
      const found = rowsOf<Entry>(range, prefix, after ?? '', endOf(prefix), BigInt(limit) + 1n)
      return { items: found.slice(0, limit), more: found.length > limit }
    },
    next(prefix: string, after: Rev): Revision | undefined {
      const rows = rowsOf<HistoryRow>(following, after, prefix, endOf(prefix))
      return rows[0] && { rev: rows[0].rev, events: rows.map(eventOf) }
    },
    audited(after: bigint, limit: number): AuditRow[] {
      const rows = rowsOf<{ seq: bigint; at: bigint; bytes: Uint8Array; hash: Uint8Array }>(
        auditAfter,
        after,
        limit,
      )
      return rows.map(row => ({ ...row, at: Number(row.at) }))
    },
    trim(state: State, before: bigint): void {
      const [last] = rowsOf<Link>(lastBelow, before)
      if (!last) return
      trim.run(before)
      state.trimmed = last.seq
      state.base = last.hash
    },
    transact,
    append,
    discard,
  }
}

/** SQLite's rows have no prototype; ours are plain objects. */
function rowsOf<T>(statement: StatementSync, ...values: SQLInputValue[]): T[] {
  return statement.all(...values).map(row => ({ ...row }) as T)
}

function eventOf({ rev, key, createRev, value }: HistoryRow) {
  return value === null ? { delete: { key } } : { put: { key, value, createRev, modRev: rev } }
}

function endOf(prefix: string): SQLInputValue {
  return endOfPrefix(prefix) ?? aboveAllKeys
}
