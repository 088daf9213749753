import { setTimeout as pause } from 'node:timers/promises'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { messages } from '#wire/call.ts'
import { exitCodes } from './exit-codes.ts'
import { type Format, print, renderItem, renderList } from './output/print.ts'
import { progress } from './output/progress.ts'
import { table } from './output/table.ts'
import { plainTable } from './readiness.ts'
import {
  type ReceiptItem,
  type RevocationItem,
  receiptColumns,
  revocationItem,
  revocations,
} from './views/revocation.ts'

export interface Followed {
  readonly revocation: RevocationItem
  readonly overdue: boolean
}

/** How long an agent that is out of reach may still go on. */
const fenceLeft = ({ verdict, fencedBy }: ReceiptItem) =>
  verdict === 'fenced' && fencedBy ? Date.parse(fencedBy) - Date.now() : 0

/** Follows a revocation until every agent has its verdict, or the time is over. */
export async function untilJudged(
  operator: OperatorServiceClient,
  id: string,
  timeoutMs: number,
): Promise<Followed> {
  using waiting = progress()
  const stream = operator.watchRevocation({ id })
  let revocation: RevocationItem | undefined
  let overdue = false
  const timer = setTimeout(() => {
    overdue = true
    stream.cancel()
  }, timeoutMs)
  try {
    for await (const answer of messages(stream, `follow revocation ${id}`)) {
      if (!answer.revocation) continue
      revocation = revocationItem(answer.revocation)
      const open = pending(revocation)
      if (open === 0) break
      waiting.say(`${revocation.target}: waiting for ${open} of ${revocation.receipts.length} agents…`)
    }
  } catch (thrown) {
    if (!overdue) throw thrown
  } finally {
    clearTimeout(timer)
  }
  if (revocation) return { revocation, overdue }
  throw new RelayError(overdue ? 'timed-out' : 'unavailable', {
    what: `follow revocation ${id}`,
    why: overdue ? 'the controller did not say in time how it stands' : 'the controller ended the watch',
    fix: 'The order stands. Look again with `fleetcat revocations`',
  })
}

/**
 * Until nothing more can be open anywhere: whoever is out of reach has let go when its lease is over. It may also come
 * back before, and cut.
 */
export async function untilFinal(
  operator: OperatorServiceClient,
  id: string,
  timeoutMs: number,
): Promise<Followed> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const left = () => deadline - performance.now()
    const followed = await untilJudged(operator, id, Math.max(1, left()))
    const ends = followed.revocation.receipts.map(fenceLeft).filter(ms => ms > 0)
    if (followed.overdue || ends.length === 0) return followed
    if (left() <= 0) return { ...followed, overdue: true }
    using waiting = progress()
    const many = ends.length === 1 ? '1 agent' : `${ends.length} agents`
    waiting.say(`${followed.revocation.target}: ${many} out of reach; waiting for the leases to end…`)
    await pause(Math.min(lookAgainMs, Math.max(...ends), left()))
  }
}

/** How often it is asked whether one that was out of reach has come back. */
const lookAgainMs = 2_000

const pending = ({ receipts }: RevocationItem) =>
  receipts.filter(({ verdict }) => verdict === 'pending').length

/** The answer to one or several orders: a row for each agent, and the exit code that they add up to. */
export async function showVerdicts(
  followed: readonly (Followed & { readonly said: string })[],
  output: Format,
  { fencesPass = false } = {},
): Promise<void> {
  const [first] = followed
  if (!first) return
  const human = () => followed.map(verdictLines).join('')
  if (followed.length === 1) {
    const name = revocations.name(first.revocation)
    print(await renderItem(first.revocation, name, output, human))
  } else if (output === 'table' || output === 'wide') print(human())
  else {
    const items = followed.map(({ revocation }) => revocation)
    print(await renderList(items, revocations, { output, headers: true }))
  }
  process.exitCode = Math.max(...followed.map(each => exitCode(each, fencesPass)))
}

function verdictLines({ revocation, overdue, said }: Followed & { said: string }): string {
  const { target, id, receipts } = revocation
  const late = overdue ? `time is over; see \`fleetcat wait ${target} --for revoked\`\n` : ''
  return `${target} ${said} (${id})\n${table(receipts, receiptColumns, plainTable())}${late}`
}

/** With `fencesPass` a fence that has passed is as good as a receipt. */
function exitCode({ revocation, overdue }: Followed, fencesPass: boolean): number {
  if (overdue) return exitCodes.timedOut
  const isDone = (receipt: ReceiptItem) =>
    receipt.verdict === 'cut' || (fencesPass && receipt.verdict === 'fenced' && fenceLeft(receipt) <= 0)
  return revocation.receipts.every(isDone) ? exitCodes.ok : exitCodes.partial
}
