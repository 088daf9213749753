import { type ChainEnds, hashOf, type Link, origin } from '#telemetry/audit/chain.ts'
import { createBell, discardable, follow, followRows, type History } from './history.ts'
import { checkKey, checkLimit, checkPrefix, compareKeys } from './keys.ts'
import { type Clock, createSessions } from './session.ts'
import {
  type AuditDraft,
  type AuditRow,
  type Entry,
  type Revision,
  type Store,
  type StoreEvent,
  storeClosed,
} from './store.ts'
import { copyRows, transaction } from './transaction.ts'

export interface MemoryOptions {
  /** For sessions; `performance.now` by default. */
  readonly clock?: Clock | undefined
  /** How many revisions watches can look back, at least; 10,000 by default. */
  readonly history?: number | undefined
}

/** A store that forgets everything when it is disposed: for tests. */
export async function openMemoryStore(options: MemoryOptions = {}): Promise<Store> {
  const keep = BigInt(checkLimit(options.history ?? 10_000))
  const sessions = createSessions(options.clock ?? (() => performance.now()))
  const bell = createBell()
  const entries = new Map<string, Entry>()
  let revisions: Revision[] = []
  let rows: AuditRow[] = []
  let [rev, compacted] = [0n, 0n]
  let ends: ChainEnds = { base: origin, head: origin }
  let closed = false

  const history: History = {
    bell,
    position: () => (closed ? undefined : { rev, compacted }),
    next(prefix, after) {
      for (const revision of revisions) {
        const events =
          revision.rev > after ? revision.events.filter(event => keyOf(event).startsWith(prefix)) : []
        if (events.length > 0) return { rev: revision.rev, events: events.map(copyEvent) }
      }
      return undefined
    },
  }

  function open() {
    if (closed) throw storeClosed()
  }
  function discard(upTo: bigint) {
    compacted = upTo
    revisions = revisions.filter(revision => revision.rev > upTo)
  }
  function append(drafts: readonly AuditDraft[]) {
    for (const draft of drafts) {
      const row = { seq: ends.head.seq + 1n, ...draft }
      const head: Link = { seq: row.seq, hash: hashOf(ends.head.hash, row) }
      rows.push({ ...row, hash: head.hash })
      ends = { ...ends, head }
    }
    if (drafts.length > 0) bell.ring()
  }
  const read = (after: bigint, limit: number) =>
    rows
      .filter(row => row.seq > after)
      .slice(0, limit)
      .map(row => ({ ...row, bytes: new Uint8Array(row.bytes), hash: new Uint8Array(row.hash) }))

  return {
    async get(key) {
      open()
      const entry = entries.get(checkKey(key))
      return entry ? { entry: copyEntry(entry), rev } : { rev }
    },
    async list(prefix, { after, limit = Number.MAX_SAFE_INTEGER } = {}) {
      open()
      checkPrefix(prefix)
      checkLimit(limit)
      const found = [...entries.values()]
        .filter(({ key }) => key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0))
        .sort((a, b) => compareKeys(a.key, b.key))
      return { items: found.slice(0, limit).map(copyEntry), rev, more: found.length > limit }
    },
    async txn(ifs, ops, more) {
      open()
      const work = transaction(ifs, ops, more?.audit)
      const failed = work.ifs.filter(({ key, modRev }) => (entries.get(key)?.modRev ?? 0n) !== modRev)
      if (failed.length > 0) {
        return { ok: false, current: failed.map(({ key }) => present(key, entries.get(key))) }
      }
      const modRev = rev + 1n
      const events: StoreEvent[] = []
      for (const op of work.ops) {
        if ('put' in op) {
          const entry = { ...op.put, createRev: entries.get(op.put.key)?.createRev ?? modRev, modRev }
          entries.set(entry.key, entry)
          events.push({ put: entry })
        } else if (entries.delete(op.delete.key)) events.push(op)
      }
      append(work.audit)
      if (events.length > 0) {
        rev = modRev
        revisions.push({ rev, events })
        discard(discardable({ rev, compacted }, keep))
        bell.ring()
      }
      return { ok: true, rev }
    },
    watch: (prefix, from, signal) => follow(history, prefix, from, signal),
    async session(ttlMs) {
      open()
      return sessions.open(ttlMs)
    },
    async compact(before) {
      open()
      const upTo = before > rev ? rev : before - 1n
      if (upTo > compacted) discard(upTo)
    },
    audit: {
      async append(drafts) {
        open()
        append(copyRows(drafts))
        return ends.head.seq
      },
      async read(after, limit) {
        open()
        return read(after, checkLimit(limit))
      },
      follow: (after, signal) => followRows({ bell, read, isClosed: () => closed }, after, signal),
      async trim(before) {
        open()
        const last = rows.findLast(row => row.seq < before)
        if (!last) return
        ends = { ...ends, base: { seq: last.seq, hash: last.hash } }
        rows = rows.filter(row => row.seq >= before)
      },
      async ends() {
        open()
        return ends
      },
    },
    async [Symbol.asyncDispose]() {
      closed = true
      sessions.closeAll()
      bell.ring()
    },
  }
}

function keyOf(event: StoreEvent): string {
  return 'put' in event ? event.put.key : event.delete.key
}

function copyEntry(entry: Entry): Entry {
  return { ...entry, value: new Uint8Array(entry.value) }
}

function copyEvent(event: StoreEvent): StoreEvent {
  return 'put' in event ? { put: copyEntry(event.put) } : event
}

function present(key: string, entry: Entry | undefined) {
  return entry ? { key, entry: copyEntry(entry) } : { key }
}
