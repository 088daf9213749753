import { existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createBell, follow, followRows, type History } from './history.ts'
import { checkKey, checkLimit, checkPrefix } from './keys.ts'
import { type Clock, createSessions } from './session.ts'
import { createGroupCommit } from './sqlite/commit.ts'
import { createPrivateFile, holdDirectory, makeFilePrivate, syncDirectory } from './sqlite/directory.ts'
import { unavailable } from './sqlite/failure.ts'
import { inspect, refuseOrphanedLog } from './sqlite/inspect.ts'
import { migrate } from './sqlite/schema.ts'
import { createStatements } from './sqlite/statements.ts'
import { type Store, storeClosed } from './store.ts'
import { copyRows, transaction } from './transaction.ts'

export interface SqliteOptions {
  /** For sessions; `performance.now` by default. */
  readonly clock?: Clock | undefined
  /** How many revisions watches can look back, at least; 10,000 by default. */
  readonly history?: number | undefined
}

/**
 * The embedded store: one SQLite database in `directory`, which is made if need be and belongs to one process at a
 * time. What it answers is on disk. When the disk fails or is full, writes reject as Unavailable, reads go on, and
 * writes go on when the disk does.
 *
 * Rejects with a RelayError: 'conflict' if a process has it open, 'unsupported' if a later fleetcat made it, 'internal'
 * if it is damaged, 'denied' if others can enter the directory. In all these cases nothing is changed on disk.
 *
 * Other programs may read the database while it is open, to look or to copy it (`sqlite3 store.db .backup`). This
 * process must not open it a second time: closing any descriptor of it would drop SQLite's locks.
 */
export async function openSqliteStore(directory: string, options: SqliteOptions = {}): Promise<Store> {
  const keep = BigInt(checkLimit(options.history ?? 10_000))
  using opening = new DisposableStack()
  const { file } = opening.use(holdDirectory(directory))
  const database = openDatabase(file)
  opening.defer(() => database.close())

  const bell = createBell()
  const sessions = createSessions(options.clock ?? (() => performance.now()))
  const statements = createStatements(database, keep)
  const group = createGroupCommit(database, bell.ring)
  const resources = opening.move()
  let closed = false

  function read<T>(act: () => T): T {
    if (closed) throw storeClosed()
    try {
      return act()
    } catch (error) {
      throw unavailable(error, 'The store cannot read')
    }
  }

  const history: History = {
    bell,
    position: () => (closed ? undefined : group.committed),
    next: (prefix, after) => read(() => statements.next(prefix, after)),
  }

  return {
    async get(key) {
      checkKey(key)
      const entry = read(() => statements.get(key))
      const { rev } = group.committed
      return entry ? { entry, rev } : { rev }
    },
    async list(prefix, { after, limit = Number.MAX_SAFE_INTEGER } = {}) {
      checkPrefix(prefix)
      checkLimit(limit)
      return { ...read(() => statements.list(prefix, after, limit)), rev: group.committed.rev }
    },
    async txn(ifs, ops, more) {
      const work = transaction(ifs, ops, more?.audit)
      return group.submit(state => statements.transact(state, work))
    },
    watch: (prefix, from, signal) => follow(history, prefix, from, signal),
    async session(ttlMs) {
      if (closed) throw storeClosed()
      return sessions.open(ttlMs)
    },
    compact: before =>
      group.submit(state => statements.discard(state, before > state.rev ? state.rev : before - 1n)),
    audit: {
      async append(rows) {
        const drafts = copyRows(rows)
        return group.submit(state => statements.append(state, drafts))
      },
      async read(after, limit) {
        checkLimit(limit)
        return read(() => statements.audited(after, limit))
      },
      follow: (after, signal) =>
        followRows(
          {
            bell,
            isClosed: () => closed,
            read: (from, limit) => read(() => statements.audited(from, limit)),
          },
          after,
          signal,
        ),
      trim: before => group.submit(state => statements.trim(state, before)),
      async ends() {
        if (closed) throw storeClosed()
        const { audited, head, trimmed, base } = group.committed
        return { base: { seq: trimmed, hash: base }, head: { seq: audited, hash: head } }
      },
    },
    async [Symbol.asyncDispose]() {
      group.close()
      closed = true
      sessions.closeAll()
      bell.ring()
      resources.dispose()
    },
  }
}

function openDatabase(file: string): DatabaseSync {
  if (!existsSync(file)) create(file)
  makeFilePrivate(file)
  inspect(file)
  const database = connect(file)
  try {
    migrate(database)
    return database
  } catch (error) {
    database.close()
    throw unavailable(error, `The store ${file} cannot be brought up to date`)
  }
}

/** Under another name until it is complete, so that an empty file of the right name is always one that was damaged. */
function create(file: string): void {
  refuseOrphanedLog(file)
  const draft = `${file}.new`
  for (const left of [draft, `${draft}-wal`, `${draft}-shm`]) rmSync(left, { force: true })
  try {
    createPrivateFile(draft)
    const database = connect(draft)
    try {
      migrate(database)
    } finally {
      database.close()
    }
    renameSync(draft, file)
    syncDirectory(dirname(file))
  } catch (error) {
    throw unavailable(error, `The store ${file} cannot be created`)
  }
}

function connect(file: string): DatabaseSync {
  const database = new DatabaseSync(file)
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    return database
  } catch (error) {
    database.close()
    throw unavailable(error, `The store ${file} cannot be opened`)
  }
}
