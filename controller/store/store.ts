import { type ErrorCode, type ErrorParts, RelayError } from '#relay/errors.ts'
import type { ChainEnds, ChainRow } from '#telemetry/audit/chain.ts'

/** The store's clock: one more with every transaction that changes an entry. Nothing has revision 0. */
export type Rev = bigint

/**
 * Where the controller keeps what must outlive it: the desired state, the revocations, the identities, the log.
 *
 * Keys are '/'-separated strings, compared byte by byte in UTF-8; they are not empty and hold no NUL. Values are
 * bytes; the store copies what it is given, and what it returns belongs to the caller.
 *
 * Every promise may reject with a StoreError. Reads see only what is committed; a write is answered only when it is
 * on disk (or wherever the implementation keeps it). A mistake of the caller, such as an empty key, rejects with a
 * RelayError of code 'usage'.
 *
 * Disposal answers the writes that are under way, ends every watch and every session, and is safe to repeat; after
 * it every call rejects as Unavailable.
 */
export interface Store extends AsyncDisposable {
  /** The entry at `key`, if there is one, and the revision of the store at which that was true. */
  get(key: string): Promise<{ entry?: Entry; rev: Rev }>

  /**
   * The entries whose key starts with `prefix`, in byte order of the keys, from the first key greater than `after`;
   * at most `limit` of them, all without one. `more` says that others follow.
   *
   * Pages are read at different revisions. Whoever pages and then watches from the `rev` of the *first* page misses
   * nothing.
   */
  list(prefix: string, page?: Page): Promise<{ items: Entry[]; rev: Rev; more: boolean }>

  /**
   * If every condition holds, does all of `ops` and appends `audit` as one: either all of it is there after a crash,
   * or none. Transactions take effect one after the other, in the order in which they were called on this store.
   *
   * `ok: true`: `rev` is the store's revision after it. Deleting what is not there changes nothing, and a
   * transaction that changes no entry does not raise the revision. `ok: false`: nothing was done; `current` holds
   * what is there instead, for each condition that failed.
   *
   * One key may be written once in a transaction. Rejects as Unavailable: it did not happen. Rejects as
   * UnknownOutcome: it may have; look again before repeating.
   */
  txn(
    ifs: readonly Condition[],
    ops: readonly Op[],
    more?: { audit?: readonly AuditDraft[] },
  ): Promise<TxnResult>

  /**
   * Every revision after `from` that touched a key under `prefix`: whole, in order, without a gap, those of the past
   * first and then each new one as it is committed. Events of one revision come in the order of their operations.
   *
   * Nothing is queued for the reader: each revision is read from the history when it is asked for, so a slow reader
   * costs no memory. The history has an end: the iteration throws StoreError Compacted when what comes next has been
   * discarded, or when `from` lies in the future of this store (it was restored from a backup). Then list anew and watch
   * from the revision of that list. Ends without an error when `signal` aborts or the store is disposed.
   */
  watch(prefix: string, from: Rev, signal: AbortSignal): AsyncIterable<Revision>

  /**
   * Says that this controller is alive; the store renews it by itself. One per controller, never one per agent.
   */
  session(ttlMs: number): Promise<Session>

  /** Discards the history of the revisions below `before`; entries stay. What lies in the future is not discarded. */
  compact(before: Rev): Promise<void>

  readonly audit: AuditRows
}

export interface Entry {
  readonly key: string
  readonly value: Uint8Array
  /** The revision at which the key came to be, after its last deletion. */
  readonly createRev: Rev
  /** The revision of its last put. */
  readonly modRev: Rev
}

export interface Page {
  readonly after?: string | undefined
  readonly limit?: number | undefined
}

/** Holds while the entry at `key` was last changed at `modRev`; 0n: while there is none. */
export interface Condition {
  readonly key: string
  readonly modRev: Rev
}

export type Op =
  | { readonly put: { readonly key: string; readonly value: Uint8Array } }
  | { readonly delete: { readonly key: string } }

export type TxnResult =
  | { readonly ok: true; readonly rev: Rev }
  | { readonly ok: false; readonly current: readonly { readonly key: string; readonly entry?: Entry }[] }

/** All that one transaction changed under the prefix of a watch. */
export interface Revision {
  readonly rev: Rev
  readonly events: readonly StoreEvent[]
}

export type StoreEvent = { readonly put: Entry } | { readonly delete: { readonly key: string } }

export interface Session extends AsyncDisposable {
  readonly id: string
  /**
   * Resolves when the time to live passed without a renewal, so that others may hold this controller for dead. It
   * never rejects, and it stays pending for a session that was closed.
   */
  readonly lost: Promise<void>
  /** Ends the session; safe to repeat. Disposal does the same. */
  close(): Promise<void>
}

/**
 * Rows that are only ever appended, numbered from 1 without a gap in the order of their commits; a number is never
 * used twice, not even after a trim. Each holds a hash of itself and of the one before: see `hashOf`.
 */
export interface AuditRows {
  /** Appends all or none; answers the number of the last row of the log. */
  append(rows: readonly AuditDraft[]): Promise<bigint>
  /** At most `limit` rows with a number above `after`, in order. */
  read(after: bigint, limit: number): Promise<AuditRow[]>
  /** Every row above `after`: those of the past first, and then each new one. Ends as a watch does. */
  follow(after: bigint, signal: AbortSignal): AsyncIterable<AuditRow>
  /** Discards the rows numbered below `before`, and keeps the hash of the last of them. */
  trim(before: bigint): Promise<void>
  /** Between which links the rows of this moment lie. */
  ends(): Promise<ChainEnds>
}

export interface AuditDraft {
  /** Milliseconds since 1970, as whoever reports it saw it. */
  readonly at: number
  readonly bytes: Uint8Array
}

export type AuditRow = ChainRow

/**
 * - `Unavailable`: the store cannot do it now (disk full, closed, not reachable). It did not happen.
 * - `UnknownOutcome`: a write failed so late that it may have happened. Read again; never repeat blindly.
 * - `Compacted`: the history that a watch needs is gone. List anew.
 */
export type StoreErrorKind = 'Unavailable' | 'UnknownOutcome' | 'Compacted'

export class StoreError extends RelayError {
  readonly kind: StoreErrorKind

  constructor(kind: StoreErrorKind, parts: ErrorParts) {
    super(codes[kind], parts)
    this.kind = kind
  }
}

const codes: Record<StoreErrorKind, ErrorCode> = {
  Unavailable: 'unavailable',
  UnknownOutcome: 'unknown-outcome',
  Compacted: 'conflict',
}

export function storeClosed(): StoreError {
  return new StoreError('Unavailable', { what: 'The store cannot be used', why: 'it is closed' })
}
