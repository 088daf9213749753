import {
  type Breach,
  type ChainEnds,
  type ChainRow,
  checkChain,
  hex,
  type Link,
} from '#telemetry/audit/chain.ts'
import { exitCodes } from './exit-codes.ts'
import { usage } from './failure.ts'
import { type Format, print, renderItem } from './output/print.ts'
import { count } from './views/revocation.ts'

export interface VerifyOptions {
  readonly context?: string
  /** Reads this directory, and asks no controller. */
  readonly data?: string
  readonly head?: Link
  readonly output: Format
}

interface Finding {
  readonly rows: number
  readonly ends: ChainEnds
  readonly last: Link
  readonly breach: Breach | undefined
}

/** Walks the whole log, says what it found, and sets the exit code. */
export async function verify({ context, data, head, output }: VerifyOptions): Promise<void> {
  const { ends, rows, last, breach } =
    data === undefined ? await fromFleet(context, head) : await fromFile(data, head)
  const item = {
    kind: 'AuditVerification',
    intact: breach === undefined,
    rows,
    trimmed: Number(ends.base.seq),
    head: { seq: Number(last.seq), hash: hex(last.hash) },
    breach: breach ? { seq: Number(breach.seq), why: breach.why } : null,
  }
  const human = () =>
    breach
      ? `broken at row ${breach.seq}: ${breach.why}\n`
      : `intact: ${count(rows, 'row')}${trimmedText(ends)}; the head is ${last.seq}:${hex(last.hash)}\n`
  print(await renderItem(item, `audit/${last.seq}`, output, human))
  process.exitCode = breach ? exitCodes.failed : exitCodes.ok
}

const trimmedText = ({ base }: ChainEnds) =>
  base.seq === 0n ? '' : `, after ${base.seq} that retention has discarded`

async function fromFleet(context: string | undefined, noted: Link | undefined): Promise<Finding> {
  const { readRows } = await import('./audit-rows.ts')
  return readRows({ ...(context && { context }) }, {}, async (ends, pages) => {
    const walk = openWalk(ends, noted)
    for await (const page of pages) for (const row of page) if (!walk.next(row)) return walk.finding()
    return walk.finding()
  })
}

async function fromFile(directory: string, noted: Link | undefined): Promise<Finding> {
  const { openAuditCopy } = await import('#controller/store/sqlite/copy.ts')
  using copy = openAuditCopy(directory)
  const walk = openWalk(copy.ends, noted)
  for (const row of copy.rows()) if (!walk.next(row)) break
  return walk.finding()
}

function openWalk(ends: ChainEnds, noted: Link | undefined) {
  const check = checkChain(ends, noted)
  let rows = 0
  let breach: Breach | undefined
  return {
    next(row: ChainRow): boolean {
      breach = check.add(row)
      if (!breach) rows++
      return breach === undefined
    },
    finding(): Finding {
      return { rows, ends, last: check.last, breach: breach ?? check.end() }
    },
  }
}

/** Reads `42:9f86d0…`, as `verify` prints it. */
export function parseLink(text: string): Link {
  const [, seq, hash] = /^(\d{1,18}):([0-9a-f]{64})$/i.exec(text) ?? []
  if (seq !== undefined && hash !== undefined) return { seq: BigInt(seq), hash: Buffer.from(hash, 'hex') }
  throw usage(
    `--head ${text}`,
    'it is not the number of a row and its hash',
    'Write it as an earlier `fleetcat audit verify` printed it: NUMBER:HASH',
  )
}
