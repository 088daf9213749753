import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'

/** How far the controller's story had come when this agent last heard it. */
export interface Seen {
  readonly epoch: bigint
  readonly revision: bigint
}

/**
 * What this host must remember when it starts again: which relays are dead for ever, and the newest controller that it
 * has obeyed, so that an older copy of that controller cannot bring them back. What it remembers holds at once; the
 * promises resolve when it is on disk, and reject when the disk refuses. What the disk has refused is tried again with
 * each later write.
 */
export interface Tombstones extends AsyncDisposable {
  readonly seen: Seen
  has(relayId: string): boolean
  bury(relayId: string): Promise<void>
  advance(seen: Seen): Promise<void>
}

const entry = z.union([
  z.strictObject({ dead: z.string() }),
  z.strictObject({ epoch: z.string().regex(/^\d+$/), revision: z.string().regex(/^\d+$/) }),
])
type Entry = z.infer<typeof entry>

/** More lines than this are written anew, without those that a later one has made needless. */
const longest = 10_000

/** Rejects with a RelayError when the file cannot be read, or is damaged: then nothing that it says may be believed. */
export async function openTombstones(directory: string, log: Logger): Promise<Tombstones> {
  const path = join(directory, 'tombstones.jsonl')
  const dead = new Set<string>()
  let seen: Seen = { epoch: 0n, revision: 0n }
  for (const known of await read(path)) {
    if ('dead' in known) dead.add(known.dead)
    else seen = { epoch: BigInt(known.epoch), revision: BigInt(known.revision) }
  }
  let file = await rewrite(path, dead, seen)
  let lines = dead.size + 1
  let pending: Entry[] = []
  let writing: Promise<void> | undefined
  let isFailing = false

  /** All that is pending goes with one write and one flush of the disk. */
  async function write(): Promise<void> {
    // What comes in the same turn of the event loop shares the write.
    await Promise.resolve()
    const batch = pending
    pending = []
    writing = undefined
    try {
      // After a failure half a line may stand at the end.
      if (isFailing || lines + batch.length > longest + dead.size) {
        const fresh = await rewrite(path, dead, seen)
        await file.close()
        file = fresh
        lines = dead.size + 1
      } else {
        await file.appendFile(batch.map(line => `${JSON.stringify(line)}\n`).join(''))
        await file.datasync()
        lines += batch.length
      }
      if (isFailing) log.info({ event: 'tombstones.recovered' }, 'what was revoked is on disk again')
      isFailing = false
    } catch (thrown) {
      pending = [...batch, ...pending]
      const error = RelayError.from(thrown, `file ${path}`)
      if (!isFailing) log.error({ event: 'tombstones.failed', error }, 'what was revoked is not on disk')
      isFailing = true
      throw error
    }
  }

  let last = Promise.resolve()
  function keep(line: Entry): Promise<void> {
    pending.push(line)
    if (!writing) {
      writing = last.then(write, write)
      last = writing.catch(() => {})
    }
    return writing
  }

  return {
    get seen() {
      return seen
    },
    has: relayId => dead.has(relayId),
    bury(relayId) {
      if (dead.has(relayId) && !isFailing) return last
      dead.add(relayId)
      return keep({ dead: relayId })
    },
    advance(next) {
      if (next.epoch === seen.epoch && next.revision === seen.revision) return last
      seen = next
      return keep({ epoch: String(next.epoch), revision: String(next.revision) })
    },
    async [Symbol.asyncDispose]() {
      await last
      await file.close()
    },
  }
}

async function read(path: string): Promise<Entry[]> {
  const text = await readFile(path, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return ''
    throw RelayError.from(thrown, `file ${path}`)
  })
  const lines = text.split('\n')
  // A line without its end was being written when the power went: what it says was never confirmed.
  lines.pop()
  return lines.filter(Boolean).map((line, i) => {
    try {
      return entry.parse(JSON.parse(line))
    } catch {
      throw new RelayError('internal', {
        what: `file ${path}`,
        why: `line ${i + 1} is damaged, and with it the memory of what was revoked on this host`,
        fix: 'Restore the file from a backup; or move it away, and check with `fleetcat revocations` that nothing came back',
      })
    }
  })
}

/** A file with nothing needless in it takes the place of the old one, whole or not at all. */
async function rewrite(path: string, dead: ReadonlySet<string>, seen: Seen): Promise<FileHandle> {
  const draft = `${path}.new`
  try {
    const file = await open(draft, 'w', 0o600)
    try {
      const known: Entry[] = [
        { epoch: String(seen.epoch), revision: String(seen.revision) },
        ...[...dead].map(id => ({ dead: id })),
      ]
      await file.writeFile(known.map(line => `${JSON.stringify(line)}\n`).join(''))
      await file.datasync()
      await rename(draft, path)
      const folder = await open(dirname(path))
      await folder.sync().finally(() => folder.close())
      return file
    } catch (thrown) {
      await file.close()
      throw thrown
    }
  } catch (thrown) {
    await rm(draft, { force: true }).catch(() => {})
    throw RelayError.from(thrown, `file ${path}`)
  }
}
