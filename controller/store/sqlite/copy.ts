import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { RelayError } from '#relay/errors.ts'
import type { ChainEnds, ChainRow } from '#telemetry/audit/chain.ts'
import { unavailable } from './failure.ts'
import { inspect } from './inspect.ts'
import { versionOf } from './schema.ts'

/** The audit log of a store that no controller of this process has open: of a stopped one, or of a copy. */
export interface AuditCopy extends Disposable {
  readonly ends: ChainEnds
  rows(): Iterable<ChainRow>
}

/** The first schema whose rows are chained. */
const firstChained = 2

/** Where a store may lie in what somebody takes for its directory: `up` keeps one for the controller and one for the agent. */
const places = ['store', 'controller/store', '.']

/** `directory` is the data directory of a controller or of `up`, or a store itself. Nothing in it is changed. */
export function openAuditCopy(directory: string): AuditCopy {
  const file = places.map(place => join(directory, place, 'store.db')).find(existsSync)
  if (!file) {
    throw new RelayError('not-found', {
      what: directory,
      why: 'it has no store of a controller in it',
      fix: 'Name the data directory of a controller, or a copy of it',
    })
  }
  inspect(file)
  try {
    return open(new DatabaseSync(file, { readOnly: true }), file)
  } catch (error) {
    throw unavailable(error, `The store ${file} cannot be read`)
  }
}

function open(database: DatabaseSync, file: string): AuditCopy {
  const state = versionOf(database) < firstChained ? undefined : find(database)
  if (!state) {
    database.close()
    throw new RelayError('unsupported', { what: `The store ${file}`, why: 'it has no chained audit log' })
  }
  return {
    ends: {
      base: { seq: BigInt(state.trimmed), hash: state.base },
      head: { seq: BigInt(state.audited), hash: state.head },
    },
    *rows() {
      const every = database.prepare('SELECT seq, at, bytes, hash FROM audit ORDER BY seq')
      every.setReadBigInts(true)
      for (const row of every.iterate() as Iterable<unknown>) {
        const { seq, at, bytes, hash } = row as {
          seq: bigint
          at: bigint
          bytes: Uint8Array
          hash: Uint8Array
        }
        yield { seq, at: Number(at), bytes, hash }
      }
    },
    [Symbol.dispose]: () => database.close(),
  }
}

function find(database: DatabaseSync) {
  const row = database.prepare('SELECT audited, head, trimmed, base FROM state').get()
  return row as { audited: number; head: Uint8Array; trimmed: number; base: Uint8Array } | undefined
}
