import type { DatabaseSync } from 'node:sqlite'
import product from '../../../package.json' with { type: 'json' }

/** `FCAT`: says whose database this is. */
export const applicationId = 0x46434154

/** What made a schema, as a newer fleetcat is named to an older one. */
const madeBy = `${product.name} ${product.version}`

/** Each entry takes the schema one version up. What was released is never edited; changes are appended. */
export const migrations: readonly string[] = [
  `CREATE TABLE state (
     only INTEGER PRIMARY KEY CHECK (only = 1),
     rev INTEGER NOT NULL,
     compacted INTEGER NOT NULL,
     audited INTEGER NOT NULL
   ) STRICT;
   INSERT INTO state VALUES (1, 0, 0, 0);
   CREATE TABLE entries (
     key TEXT PRIMARY KEY,
     create_rev INTEGER NOT NULL,
     mod_rev INTEGER NOT NULL,
     value BLOB NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE history (
     rev INTEGER NOT NULL,
     place INTEGER NOT NULL,
     key TEXT NOT NULL,
     create_rev INTEGER,
     value BLOB,
     PRIMARY KEY (rev, place)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE audit (
     seq INTEGER PRIMARY KEY,
     at INTEGER NOT NULL,
     bytes BLOB NOT NULL
   ) STRICT;`,
  `ALTER TABLE state ADD COLUMN head BLOB NOT NULL DEFAULT x'${'00'.repeat(32)}';
   ALTER TABLE state ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE state ADD COLUMN base BLOB NOT NULL DEFAULT x'${'00'.repeat(32)}';
   UPDATE state SET trimmed = audited;
   DROP TABLE audit;
   CREATE TABLE audit (
     seq INTEGER PRIMARY KEY,
     at INTEGER NOT NULL,
     bytes BLOB NOT NULL,
     hash BLOB NOT NULL
   ) STRICT;`,
]

/** Brings the schema up to the last of `steps`, each in a transaction of its own: it is done, or it left no trace. */
export function migrate(database: DatabaseSync, steps: readonly string[] = migrations): void {
  for (let version = versionOf(database); version < steps.length; version++) {
    database.exec('BEGIN IMMEDIATE')
    try {
      database.exec(`PRAGMA application_id = ${applicationId}`)
      database.exec(
        'CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, made_by TEXT NOT NULL) STRICT',
      )
      database.exec(steps[version]!)
      database.prepare('INSERT INTO migrations VALUES (?, ?)').run(version + 1, madeBy)
      database.exec(`PRAGMA user_version = ${version + 1}`)
      database.exec('COMMIT')
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  }
}

export function versionOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()!.user_version)
}
