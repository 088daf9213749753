import { setTimeout as pause } from 'node:timers/promises'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { messages } from '#wire/call.ts'
import { exitCodes } from './exit-codes.ts'
import { type ReceiptItem, type RevocationItem, revocationItem } from './views/revocation.ts'

export interface Followed {
  readonly revocation: RevocationItem
  readonly overdue: boolean
}

/** Sees a revocation each time that more is known of it. */
export type Onlooker = (revocation: RevocationItem, waitsFor?: string) => void

/** How long an agent that is out of reach may still go on. */
const fenceLeft = ({ verdict, fencedBy }: ReceiptItem) =>
  verdict === 'fenced' && fencedBy ? Date.parse(fencedBy) - Date.now() : 0

/** Follows revocations until every agent has its verdict on each, or the time is over. */
export async function untilJudged(
  operator: OperatorServiceClient,
  ids: readonly string[],
  timeoutMs: number,
  seen: Onlooker,
): Promise<Followed[]> {
  const [first = ''] = ids
  const what = ids.length === 1 ? `follow revocation/${first}` : `follow ${ids.length} revocations`
  const stream = operator.watchRevocation({ ids: [...ids] })
  const known = new Map<string, RevocationItem>()
  let overdue = false
  const timer = setTimeout(() => {
    overdue = true
    stream.cancel()
  }, timeoutMs)
  try {
    for await (const answer of messages(stream, what)) {
      if (!answer.revocation) continue
      const revocation = revocationItem(answer.revocation)
      known.set(revocation.id, revocation)
      seen(revocation)
    }
  } catch (thrown) {
    if (!overdue) throw thrown
  } finally {
    clearTimeout(timer)
  }
  const found = ids.flatMap(id => known.get(id) ?? [])
  if (found.length === ids.length) {
    return found.map(revocation => ({ revocation, overdue: overdue && isOpen(revocation) }))
  }
  throw new RelayError(overdue ? 'timed-out' : 'unavailable', {
    what,
    why: overdue ? 'the controller did not say in time how it stands' : 'the controller ended the watch',
    fix: `The order stands. Look again with \`fleetcat ${ids.length === 1 ? `describe revocation/${first}` : 'revocations'}\``,
  })
}

const isOpen = ({ receipts }: RevocationItem) => receipts.some(({ verdict }) => verdict === 'pending')

/**
 * Until nothing more can be open anywhere: whoever is out of reach has let go when its lease is over. It may also come
 * back before, and cut.
 */
export async function untilFinal(
  operator: OperatorServiceClient,
  id: string,
  timeoutMs: number,
  seen: Onlooker,
): Promise<Followed> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const left = () => deadline - performance.now()
    const [followed] = await untilJudged(operator, [id], Math.max(1, left()), seen)
    const { revocation, overdue } = followed!
    const ends = revocation.receipts.map(fenceLeft).filter(ms => ms > 0)
    if (overdue || ends.length === 0) return { revocation, overdue }
    if (left() <= 0) return { revocation, overdue: true }
    const many = ends.length === 1 ? '1 agent' : `${ends.length} agents`
    seen(revocation, `${revocation.target}: ${many} out of reach; waiting for the leases to end…`)
    await pause(Math.min(lookAgainMs, Math.max(...ends), left()))
  }
}

/** How often it is asked whether one that was out of reach has come back. */
const lookAgainMs = 2_000

/** What a script reads of it. With `fencesPass` a fence that has passed is as good as a receipt. */
export function exitCodeFor({ revocation, overdue }: Followed, { fencesPass = false } = {}): number {
  if (overdue) return exitCodes.timedOut
  const isDone = (receipt: ReceiptItem) =>
    receipt.verdict === 'cut' || (fencesPass && receipt.verdict === 'fenced' && fenceLeft(receipt) <= 0)
  return revocation.durable && revocation.receipts.every(isDone) ? exitCodes.ok : exitCodes.partial
}
