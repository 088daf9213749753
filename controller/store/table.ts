import { RelayError } from '#relay/errors.ts'
import type { Condition, Entry, Op, Page, Rev, Store } from './store.ts'

/** Between a value and its bytes. `decode` throws on bytes that are none of its own. */
export interface Codec<T> {
  encode(value: T): Uint8Array
  decode(bytes: Uint8Array): T
}

export interface Row<T> {
  /** The key without the table's prefix. */
  readonly name: string
  readonly value: T
  readonly createRev: Rev
  readonly modRev: Rev
}

export type RowEvent<T> = { readonly put: Row<T> } | { readonly delete: { readonly name: string } }

/**
 * The entries under one prefix as values of one type. It reads by itself; to write, it makes the parts of a
 * transaction, so that one `txn` can span several tables.
 *
 * A row whose bytes do not decode fails the read that meets it, with a RelayError 'internal' that names its key.
 */
export interface Table<T> {
  get(name: string): Promise<{ row?: Row<T>; rev: Rev }>
  /** As Store.list, where `after` is a name. */
  list(page?: Page): Promise<{ rows: Row<T>[]; rev: Rev; more: boolean }>
  /** As Store.watch. */
  watch(from: Rev, signal: AbortSignal): AsyncIterable<{ rev: Rev; events: RowEvent<T>[] }>
  put(name: string, value: T): Op
  delete(name: string): Op
  /** Holds while the row was last changed at `modRev`; 0n: while there is none. */
  at(name: string, modRev: Rev): Condition
}

export function table<T>(store: Store, prefix: string, codec: Codec<T>): Table<T> {
  const nameOf = (key: string) => key.slice(prefix.length)
  const keyOf = (name: string) => prefix + name

  function row({ key, value, createRev, modRev }: Entry): Row<T> {
    try {
      return { name: nameOf(key), value: codec.decode(value), createRev, modRev }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new RelayError('internal', {
        what: `The stored value at ${key} cannot be read`,
        why,
        cause: error,
      })
    }
  }

  return {
    async get(name) {
      const { entry, rev } = await store.get(keyOf(name))
      return entry ? { row: row(entry), rev } : { rev }
    },
    async list({ after, limit } = {}) {
      const page = { after: after === undefined ? undefined : keyOf(after), limit }
      const { items, rev, more } = await store.list(prefix, page)
      return { rows: items.map(row), rev, more }
    },
    async *watch(from, signal) {
      for await (const { rev, events } of store.watch(prefix, from, signal)) {
        yield {
          rev,
          events: events.map(event =>
            'put' in event ? { put: row(event.put) } : { delete: { name: nameOf(event.delete.key) } },
          ),
        }
      }
    },
    put: (name, value) => ({ put: { key: keyOf(name), value: codec.encode(value) } }),
    delete: name => ({ delete: { key: keyOf(name) } }),
    at: (name, modRev) => ({ key: keyOf(name), modRev }),
  }
}
