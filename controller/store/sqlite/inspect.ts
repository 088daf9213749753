import { statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { RelayError } from '#relay/errors.ts'
import { codeOf, messageOf, sqlite, unavailable } from './failure.ts'
import { applicationId, migrations, versionOf } from './schema.ts'

/**
 * Looks at the database before anything may write to it, and refuses one that is damaged, foreign or newer than this
 * fleetcat. It is opened read-only: merely closing a writable connection would fold the log into a file that may be
 * damaged, and nobody could look at what was there.
 */
export function inspect(file: string): void {
  if (statSync(file).size === 0) throw damaged(file, 'it is empty')
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(file, { readOnly: true })
    refuseForeign(database, file)
    refuseNewer(database, file)
    const finding = Object.values(database.prepare('PRAGMA quick_check(1)').get() ?? {})[0]
    if (finding !== 'ok') throw damaged(file, String(finding))
  } catch (error) {
    if (isDamage(error)) throw damaged(file, messageOf(error), error)
    throw unavailable(error, `The store ${file} cannot be opened`)
  } finally {
    database?.close()
  }
}

/** A log without its database: SQLite would delete the log, and the last commits with it. */
export function refuseOrphanedLog(file: string): void {
  const log = statSync(`${file}-wal`, { throwIfNoEntry: false })
  if (log && log.size > 0) throw damaged(file, `it is missing, but its log ${file}-wal is there`)
}

function refuseForeign(database: DatabaseSync, file: string): void {
  if (Number(database.prepare('PRAGMA application_id').get()!.application_id) === applicationId) return
  throw new RelayError('usage', {
    what: `The store ${file} cannot be opened`,
    why: 'it is a database of another program',
    fix: 'Name another directory',
  })
}

function refuseNewer(database: DatabaseSync, file: string): void {
  const version = versionOf(database)
  if (version <= migrations.length) return
  throw new RelayError('unsupported', {
    what: `The store ${file} cannot be opened`,
    why: `${makerOf(database)} made its schema ${version}, and this fleetcat knows schemas up to ${migrations.length}`,
    fix: 'Run that version or a later one; nothing was changed on disk',
  })
}

function makerOf(database: DatabaseSync): string {
  try {
    const row = database.prepare('SELECT made_by FROM migrations ORDER BY version DESC LIMIT 1').get()
    if (typeof row?.made_by === 'string') return row.made_by
  } catch {
    // A later schema may keep this elsewhere.
  }
  return 'A later version'
}

function isDamage(error: unknown): boolean {
  const code = codeOf(error)
  return code === sqlite.corrupt || code === sqlite.notADatabase
}

/** A log that is left beside a restored backup would be folded into it, and damage that as well. */
function damaged(file: string, why: string, cause?: unknown): RelayError {
  return new RelayError('internal', {
    what: `The store ${file} is damaged`,
    why,
    fix: `Nothing was changed on disk. Move ${file}* away and restore a backup as ${file}`,
    cause,
  })
}
