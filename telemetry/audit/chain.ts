import { createHash } from 'node:crypto'

/** A place in the chain: the number of a row and its hash. Row 0 is before all others, and its hash is all zeros. */
export interface Link {
  readonly seq: bigint
  readonly hash: Uint8Array
}

/** One row of the log, as it is kept. */
export interface ChainRow extends Link {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly bytes: Uint8Array
}

export const origin: Link = { seq: 0n, hash: new Uint8Array(32) }

/**
 * The hash of a row: SHA-256 of the hash of the row before, the number and the time (each 8 bytes, the most significant
 * first) and the bytes. What has a fixed length comes first, so no two rows are written alike.
 */
export function hashOf(before: Uint8Array, { seq, at, bytes }: Omit<ChainRow, 'hash'>): Uint8Array {
  const head = Buffer.alloc(16)
  head.writeBigUInt64BE(seq, 0)
  head.writeBigInt64BE(BigInt(at), 8)
  return new Uint8Array(createHash('sha256').update(before).update(head).update(bytes).digest())
}

/** What is wrong with a log, and at which row it begins. */
export interface Breach {
  readonly seq: bigint
  readonly why: string
}

export interface ChainCheck {
  /** Takes the next row as it was read. The first breach, if there is one: what follows then proves nothing. */
  add(row: ChainRow): Breach | undefined
  /** All rows have been read. */
  end(): Breach | undefined
  /** The last row that was in order. */
  readonly last: Link
}

export interface ChainEnds {
  /** The last row that retention has discarded. */
  readonly base: Link
  /** The last row of all. */
  readonly head: Link
}

/**
 * Walks a log from its base to its head. `noted` is what somebody wrote down of it earlier, elsewhere: whoever can
 * rewrite the whole file can also forge a chain that is sound in itself, but not one that leads to that hash.
 */
export function checkChain({ base, head }: ChainEnds, noted?: Link): ChainCheck {
  let last = base
  let met = noted === undefined || meets(base)

  function meets({ seq, hash }: Link): boolean {
    return noted?.seq === seq && equal(noted.hash, hash)
  }

  function add(row: ChainRow): Breach | undefined {
    const next = last.seq + 1n
    if (row.seq > next) return missing(next, row.seq - 1n)
    if (row.seq < next) return { seq: row.seq, why: 'it comes after a later row' }
    if (!equal(hashOf(last.hash, row), row.hash))
      return { seq: row.seq, why: 'it was edited or stands in the place of another: its hash does not fit' }
    last = { seq: row.seq, hash: row.hash }
    if (row.seq === noted?.seq) {
      if (!meets(last)) return { seq: row.seq, why: 'its hash is not the one that was noted' }
      met = true
    }
    return undefined
  }

  function end(): Breach | undefined {
    if (last.seq < head.seq) return missing(last.seq + 1n, head.seq)
    if (last.seq === head.seq && !equal(last.hash, head.hash))
      return { seq: last.seq, why: 'its hash is not the one with which the log ended' }
    if (met || !noted) return undefined
    if (noted.seq > last.seq) return missing(last.seq + 1n, noted.seq)
    if (noted.seq === base.seq) return { seq: noted.seq, why: 'its hash is not the one that was noted' }
    return { seq: noted.seq, why: 'it was discarded by retention, and cannot be compared any more' }
  }

  return {
    add,
    end,
    get last() {
      return last
    },
  }
}

export const hex = (hash: Uint8Array): string => Buffer.from(hash).toString('hex')

function missing(from: bigint, to: bigint): Breach {
  return { seq: from, why: from === to ? 'it is missing' : `it and all up to row ${to} are missing` }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
