import { setTimeout as pause } from 'node:timers/promises'
import type { ReadAuditRequest, ReadAuditResponse } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { type ChainEnds, type ChainRow, origin } from '#telemetry/audit/chain.ts'
import { messages } from '#wire/call.ts'
import { failureOf } from '#wire/failure.ts'
import { advised, type FleetOptions, openFleet, withFleet } from './client.ts'
import { chosenContext } from './contexts.ts'
import { note } from './failure.ts'
import { chainRow } from './views/audit.ts'

/** Which rows of the audit log are asked for. */
export interface AuditFilter {
  readonly since?: Date
  readonly last?: number
  readonly by?: string
  readonly event?: string
  readonly target?: string
}

const what = 'read the audit log'
/** How long a controller that was there may be gone before following it is given up. */
const patienceMs = 5 * 60_000
const longestPauseMs = 10_000

/** The rows that there are, and between which links the whole log lies. */
export async function readRows<T>(
  options: FleetOptions,
  filter: AuditFilter,
  use: (ends: ChainEnds, rows: AsyncIterable<readonly ChainRow[]>, cluster: string) => Promise<T>,
): Promise<T> {
  return withFleet(options, async (operator, { context }) => {
    const answers = messages(operator.readAudit(requestOf(filter)), what)
    const first = await answers.next()
    if (first.done) throw new RelayError('unavailable', { what, why: 'the controller ended the answer' })
    try {
      return await use(endsOf(first.value), pages(answers), context.cluster)
    } finally {
      await answers.return()
    }
  })
}

/** The rows that there are, and then each new one; a controller that is lost on the way is looked for again. */
export async function* followRows(
  options: FleetOptions,
  filter: AuditFilter,
): AsyncGenerator<{ rows: readonly ChainRow[]; cluster: string }> {
  const context = await chosenContext(options.context)
  let shown: bigint | undefined
  let heard = false
  let lostAt: number | undefined
  for (let tries = 0; ; tries++) {
    let error: RelayError
    try {
      await using fleet = await openFleet(context)
      const again = shown === undefined ? {} : { after: shown, last: 0 }
      const request = { ...requestOf(filter), ...again, follow: true }
      for await (const answer of messages(fleet.operator.readAudit(request), what)) {
        heard = true
        lostAt = undefined
        tries = 0
        const rows = answer.rows.map(chainRow)
        shown = rows.at(-1)?.seq ?? shown
        if (rows.length > 0) yield { rows, cluster: context.cluster }
      }
      error = new RelayError('unavailable', { what, why: 'the controller ended the answer' })
    } catch (thrown) {
      error = failureOf(thrown, what)
    }
    if (lostAt === undefined && heard)
      note(`the controller is gone (${error.why || error.what}); looking for it again`)
    lostAt ??= performance.now()
    const passes = error.code === 'unavailable' || error.code === 'timed-out'
    if (!heard || !passes || performance.now() - lostAt > patienceMs) throw advised(error, context)
    await pause(Math.random() * Math.min(longestPauseMs, 500 * 2 ** tries))
  }
}

function requestOf({ since, last = 0, by = '', event = '', target = '' }: AuditFilter): ReadAuditRequest {
  return { after: 0n, since, last, follow: false, by, event, target }
}

async function* pages(answers: AsyncIterable<ReadAuditResponse>): AsyncGenerator<readonly ChainRow[]> {
  for await (const { rows } of answers) yield rows.map(chainRow)
}

function endsOf({ ends }: ReadAuditResponse): ChainEnds {
  return { base: ends?.base ?? origin, head: ends?.head ?? origin }
}
