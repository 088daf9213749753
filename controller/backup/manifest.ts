import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { RelayError } from '#relay/errors.ts'

/** What a backup says of itself. It is written last: a directory without it is no backup. */
const manifest = z.object({
  kind: z.literal('fleetcat-backup'),
  version: z.string(),
  cluster: z.string(),
  epoch: z.int(),
  revision: z.string(),
  at: z.iso.datetime(),
  /** SHA-256 of each file, by its path inside the backup. */
  files: z.record(z.string(), z.string()),
})
export type Manifest = z.infer<typeof manifest>

export const manifestName = 'backup.json'

/** The files of a data directory that a backup holds; what else is there belongs to one process or one port. */
export const backedUp = ['store/store.db', 'authority/authority.pem'] as const

export async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** Rejects with a RelayError when it is no backup, or not all of one, or not as it was made. */
export async function readManifest(backup: string): Promise<Manifest> {
  const path = join(backup, manifestName)
  const text = await readFile(path, 'utf8').catch(thrown => {
    throw new RelayError('not-found', {
      what: `backup ${backup}`,
      why: `it has no readable ${manifestName}: ${RelayError.from(thrown, path).why}`,
      fix: 'Name the directory that `fleetcat controller backup` made',
    })
  })
  const found = parse(text, path)
  for (const name of backedUp) {
    const expected = found.files[name]
    const actual = await hashOf(join(backup, name)).catch(() => undefined)
    if (expected === undefined || actual !== expected) {
      throw new RelayError('internal', {
        what: `backup ${backup}`,
        why: `${name} is ${actual === undefined ? 'missing' : 'not what was backed up: its checksum differs'}`,
        fix: 'Use another backup; nothing was changed',
      })
    }
  }
  return found
}

function parse(text: string, path: string): Manifest {
  try {
    return manifest.parse(JSON.parse(text))
  } catch {
    throw new RelayError('usage', {
      what: `file ${path}`,
      why: 'it is not what a backup of fleetcat says of itself',
      fix: 'Name the directory that `fleetcat controller backup` made',
    })
  }
}
