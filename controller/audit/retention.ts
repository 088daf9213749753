import { hex } from '#telemetry/audit/chain.ts'
import type { Logger } from '#telemetry/log.ts'
import { localActor } from '../actor.ts'
import type { AuditRow, AuditRows } from '../store/store.ts'
import type { Ledger } from './ledger.ts'

/** Discards the rows that are too old, or too many. What stays can be verified as before. */
export interface Retention extends AsyncDisposable {
  /** One round, as of this moment. */
  sweep(now: number): Promise<void>
}

interface Parts {
  readonly rows: AuditRows
  readonly ledger: Ledger
  readonly keepMs: number
  readonly keepRows: number
  /** Rows above this have not been sent on yet, and are not too old before they are. */
  delivered(): bigint | undefined
  readonly log: Logger
}

const everyMs = 3_600_000
const atOnce = 1_000

export function openRetention({ rows, ledger, keepMs, keepRows, delivered, log }: Parts): Retention {
  async function sweep(now: number): Promise<void> {
    const { base, head } = await rows.ends()
    const sent = delivered() ?? head.seq
    const surplus = head.seq - BigInt(keepRows)
    // The last row stays, so that the log always says when it was last written.
    const goes = ({ seq, at }: AuditRow) =>
      seq < head.seq && (seq <= surplus || (at < now - keepMs && seq <= sent))
    let last = base
    for (;;) {
      const page = await rows.read(last.seq, atOnce)
      const stays = page.findIndex(row => !goes(row))
      const going = stays < 0 ? page : page.slice(0, stays)
      const end = going.at(-1)
      if (!end) break
      await rows.trim(end.seq + 1n)
      last = end
      if (going.length < atOnce) break
    }
    if (last.seq === base.seq) return
    await ledger.write({
      by: localActor,
      event: 'audit.trimmed',
      fields: { from: base.seq + 1n, to: last.seq, hash: hex(last.hash) },
      words: 'old rows of the audit log were discarded',
    })
  }

  let sweeping = Promise.resolve()
  const round = () => {
    sweeping = sweeping
      .then(() => sweep(Date.now()))
      .catch(error => log.warn({ event: 'audit.not-trimmed', error }, 'old rows could not be discarded'))
  }
  const timer = setInterval(round, everyMs).unref()
  round()
  return {
    sweep,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await sweeping
    },
  }
}
