import type { AuditEnds, AuditRow, ReadAuditRequest, ReadAuditResponse } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import type { ChainEnds, Link } from '#telemetry/audit/chain.ts'
import { decodeRecord } from '#telemetry/audit/record.ts'
import type { Actor } from '../actor.ts'
import type { AuditRows, AuditRow as Row } from '../store/store.ts'

/** The log as operators read it: no faster than they do, and with no more in memory than a page. */
export interface Reading {
  read(request: ReadAuditRequest, caller: Actor, signal: AbortSignal): AsyncGenerator<ReadAuditResponse>
}

/** Of the longest rows there are, a message of so many is well below what gRPC carries. */
const page = 100
/** What is only looked at, to find where to begin. */
const stride = 1_000
const mostOfOneCaller = 8

export function openReading(rows: AuditRows): Reading {
  const readers = new Map<string, number>()

  function enter(name: string): void {
    const open = readers.get(name) ?? 0
    if (open >= mostOfOneCaller) {
      throw new RelayError('exhausted', {
        what: 'audit',
        why: `${name} reads the log ${mostOfOneCaller} times already`,
        fix: 'End some of them first',
      })
    }
    readers.set(name, open + 1)
  }

  function leave(name: string): void {
    const open = (readers.get(name) ?? 1) - 1
    if (open === 0) readers.delete(name)
    else readers.set(name, open)
  }

  return {
    async *read(request, caller, signal) {
      enter(caller.name)
      try {
        const ends = await rows.ends()
        const fits = filterOf(request)
        const { head } = ends
        let cursor = await beginning(rows, request, fits)
        yield { ends: shownEnds(ends), rows: [] }
        while (cursor < head.seq && !signal.aborted) {
          const found = (await rows.read(cursor, page)).filter(({ seq }) => seq <= head.seq)
          const first = found[0]
          if (!first) break
          if (first.seq > cursor + 1n) await refuseTrimmed(rows, cursor, ends.base.seq)
          cursor = found.at(-1)!.seq
          const shown = found.filter(fits).map(shownRow)
          if (shown.length > 0) yield { ends: undefined, rows: shown }
        }
        if (!request.follow) return
        for await (const row of rows.follow(cursor, signal)) {
          if (fits(row)) yield { ends: undefined, rows: [shownRow(row)] }
        }
      } finally {
        leave(caller.name)
      }
    },
  }
}

type Fits = (row: Row) => boolean

function filterOf({ since, by, event, target }: ReadAuditRequest): Fits {
  const from = since?.getTime() ?? Number.NEGATIVE_INFINITY
  if (!by && !event && !target) return ({ at }) => at >= from
  const isEvent = (text: string) => !event || text === event || text.startsWith(`${event}.`)
  const isBy = (text: string) => !by || text === by || text.slice(text.indexOf('/') + 1) === by
  return ({ at, bytes }) => {
    if (at < from) return false
    const record = decodeRecord(bytes)
    return isEvent(record.event) && isBy(record.by) && (!target || record.target === target)
  }
}

/** The number behind which the asked rows begin. */
async function beginning(rows: AuditRows, { after, since, last }: ReadAuditRequest, fits: Fits) {
  const { base, head } = await rows.ends()
  const lowest = after > base.seq ? after : base.seq
  if (last > 0) return beforeLast(rows, last, fits, lowest, head.seq)
  return since ? beforeTime(rows, since.getTime(), lowest, head.seq) : lowest
}

async function beforeLast(rows: AuditRows, last: number, fits: Fits, lowest: bigint, highest: bigint) {
  let missing = last
  for (let end = highest; end > lowest; end -= BigInt(stride)) {
    const start = end - BigInt(stride) > lowest ? end - BigInt(stride) : lowest
    const found = (await rows.read(start, Number(end - start))).filter(fits)
    if (found.length >= missing) return found.at(-missing)!.seq - 1n
    missing -= found.length
  }
  return lowest
}

/** By halves, as times grow with the numbers; then back over what a clock that was set back has mixed up. */
async function beforeTime(rows: AuditRows, since: number, lowest: bigint, highest: bigint) {
  let [low, high] = [lowest, highest]
  while (low < high) {
    const middle = (low + high) / 2n
    const [row] = await rows.read(middle, 1)
    if (row && row.at < since) low = row.seq
    else high = middle
  }
  while (low > lowest) {
    const start = low - BigInt(stride) > lowest ? low - BigInt(stride) : lowest
    const earlier = (await rows.read(start, Number(low - start))).find(({ at }) => at >= since)
    if (!earlier) break
    low = earlier.seq - 1n
  }
  return low
}

/** Between two pages retention may discard what comes next: a reader must not take that for a gap. */
async function refuseTrimmed(rows: AuditRows, cursor: bigint, base: bigint): Promise<void> {
  const now = (await rows.ends()).base.seq
  if (now === base || now <= cursor) return
  throw new RelayError('unavailable', {
    what: 'audit',
    why: 'old rows were discarded by retention while they were read',
    fix: 'Read again',
  })
}

const shownLink = ({ seq, hash }: Link) => ({ seq, hash: Buffer.from(hash) })
const shownEnds = ({ base, head }: ChainEnds): AuditEnds => ({ base: shownLink(base), head: shownLink(head) })

const shownRow = ({ seq, at, bytes, hash }: Row): AuditRow => ({
  ...shownLink({ seq, hash }),
  atMs: BigInt(at),
  record: Buffer.from(bytes),
})
