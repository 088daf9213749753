import type { RevocationView } from '#gen/fleetcat/v1/operator.ts'
import type { Revocation, Verdict } from '#gen/fleetcat/v1/relay.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { colourOfState } from '../output/colour.ts'
import type { Presentation } from '../output/print.ts'
import type { Column } from '../output/table.ts'
import { since, until } from '../output/time.ts'
import { problemText, time, verdictWord } from './words.ts'

export interface ReceiptItem {
  readonly agent: string
  /** `pending`, `cut`, `fenced` or `refused`. */
  readonly verdict: string
  readonly listenersClosed: number
  readonly connectionsCut: number
  readonly ms: number | null
  readonly fencedBy: string | null
  readonly error: string | null
  /** What is cut all the same, but not as safely as it should be. */
  readonly warning: string | null
}

export interface RevocationItem {
  readonly kind: 'Revocation'
  readonly id: string
  readonly target: string
  readonly at: string | null
  readonly by: string
  readonly reason: string
  /** `active` while it shuts something out, `lifted`, `expired`; `done` if it only ended something. */
  readonly state: string
  readonly lockUntil: string | null
  readonly liftedAt: string | null
  readonly liftedBy: string | null
  /** Of a source: the relays that it is shut out of, all if empty, and what of it stays welcome. */
  readonly relays: readonly string[]
  readonly except: readonly string[]
  readonly receipts: readonly ReceiptItem[]
  /** False while it is in effect, but not on the controller’s disk: if the controller stopped now, it would forget it. */
  readonly durable: boolean
}

export function revocationItem(view: RevocationView): RevocationItem {
  const { revocation, verdicts, relays, clock, notDurable } = view
  const aheadMs = clock ? Date.now() - clock.getTime() : 0
  return {
    kind: 'Revocation',
    id: revocation?.id ?? '',
    target: revocation?.target ?? '',
    at: time(revocation?.at),
    by: revocation?.by ?? '',
    reason: revocation?.reason ?? '',
    state: revocation ? stateOf(revocation) : 'done',
    lockUntil: time(revocation?.lockUntil),
    liftedAt: time(revocation?.liftedAt),
    liftedBy: revocation?.liftedBy || null,
    relays,
    except: revocation?.except ?? [],
    durable: !notDurable,
    receipts: verdicts.map(verdict => receiptItem(verdict, Math.abs(aheadMs) > apartMs ? aheadMs : 0)),
  }
}

function stateOf({ target, lockUntil, liftedAt }: Revocation): string {
  if (liftedAt) return 'lifted'
  if (lockUntil) return lockUntil.getTime() > Date.now() ? 'active' : 'expired'
  return target.startsWith('source/') ? 'active' : 'done'
}

/** What an answer may take on its way before the reader's clock and the controller's count as apart. */
const apartMs = 500

/** A fence is told by the reader's own clock, for that is what it will be held against. */
function receiptItem({ agent, kind, receipt, fencedBy, problem }: Verdict, aheadMs: number): ReceiptItem {
  return {
    agent,
    verdict: verdictWord(kind),
    listenersClosed: receipt?.listenersClosed ?? 0,
    connectionsCut: receipt?.connectionsCut ?? 0,
    ms: receipt?.took ? Math.round(toMilliseconds(receipt.took)) : null,
    fencedBy: time(fencedBy && new Date(fencedBy.getTime() + aheadMs)),
    error: problemText(problem ?? receipt?.problem),
    warning: problemText(receipt?.warning),
  }
}

/** `cut (2 connections, 1 listener, 4 ms)`, `fenced by 14:02:09`, `fenced since 14:02:09`, `refused: …`, `pending`. */
export function verdictText(receipt: ReceiptItem): string {
  switch (receipt.verdict) {
    case 'cut': {
      const parts = [count(receipt.connectionsCut, 'connection'), count(receipt.listenersClosed, 'listener')]
      if (receipt.ms !== null) parts.push(`${receipt.ms} ms`)
      return `cut (${parts.join(', ')})${receipt.warning ? `; ${receipt.warning}` : ''}`
    }
    case 'fenced':
      return receipt.fencedBy ? fence(receipt.fencedBy) : 'fenced'
    default:
      return receipt.error ? `${receipt.verdict}: ${receipt.error}` : receipt.verdict
  }
}

export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`

const fence = (at: string) => `fenced ${Date.parse(at) <= Date.now() ? 'since' : 'by'} ${clock(at)}`

/** For how long it stays so: `, locked until …` of a name, ` until it is lifted` of a source; empty of what only ended. */
export function termText({ target, state, lockUntil }: RevocationItem): string {
  if (state !== 'active') return ''
  const isSource = target.startsWith('source/')
  if (!lockUntil) return ' until it is lifted'
  return isSource ? ` until ${lockUntil}` : `, locked until ${lockUntil}`
}

/** The reader's own clock, as on their wall. */
export const clock = (at: string) => new Date(at).toTimeString().slice(0, 8)

export const receiptColumns: readonly Column<ReceiptItem>[] = [
  { title: 'AGENT', cell: receipt => receipt.agent },
  { title: 'VERDICT', cell: verdictText, colour: receipt => colourOfState(receipt.verdict) },
]

const cut = ({ receipts }: RevocationItem) => receipts.filter(({ verdict }) => verdict === 'cut').length

export const revocations: Presentation<RevocationItem> = {
  listKind: 'RevocationList',
  none: 'Nothing was revoked.',
  unmatched: 'No revocation matches.',
  name: item => `revocation/${item.id}`,
  key: item => item.id,
  columns: [
    { title: 'ID', cell: item => item.id },
    { title: 'TARGET', cell: item => item.target },
    { title: 'BY', cell: item => item.by },
    { title: 'CUT', cell: item => `${cut(item)}/${item.receipts.length}`, right: true },
    {
      title: 'CONNS-CUT',
      cell: item => String(item.receipts.reduce((sum, { connectionsCut }) => sum + connectionsCut, 0)),
      right: true,
    },
    { title: 'STATE', cell: item => item.state },
    {
      title: 'LOCK',
      cell: (item, now) =>
        item.state !== 'active' ? '' : item.lockUntil ? until(item.lockUntil, now) : 'until lifted',
      right: true,
    },
    { title: 'AGE', cell: (item, now) => since(item.at, now), right: true },
    { title: 'REASON', cell: item => item.reason },
    { title: 'RELAYS', wide: true, cell: item => item.relays.join(',') },
    {
      title: 'VERDICTS',
      wide: true,
      cell: item => item.receipts.map(receipt => `${receipt.agent}: ${verdictText(receipt)}`).join('; '),
    },
  ],
}
