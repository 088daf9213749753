import { bar } from './output/bar.ts'
import { colourOfState, type Paint } from './output/colour.ts'
import { type Column, type TableStyle, table } from './output/table.ts'
import {
  count,
  type ReceiptItem,
  type RevocationItem,
  receiptColumns,
  revocations,
  termText,
} from './views/revocation.ts'

/** An order to cut, and how far it has come. */
export interface Order {
  readonly revocation: RevocationItem
  /** What was done with it: `revoked`, `already revoked`. */
  readonly said: string
  /** Nobody waits for it any more. */
  readonly overdue: boolean
}

export interface BoardStyle {
  /** Lines that there is room for. */
  readonly room: number
  readonly columns: number
  readonly paint: Paint
  readonly now: number
}

type Row = ReceiptItem & { readonly target: string }

/** A row for each agent of each order. */
export function wholeBoard(orders: readonly Order[], style: TableStyle): string {
  return orders
    .map(order => {
      const { target, receipts } = order.revocation
      const rows = table(receipts, receiptColumns, style) || nobody(target)
      return `${title(order)}\n${rows}${order.overdue ? late(target) : ''}`
    })
    .join('')
}

const title = ({ revocation, said }: Order) =>
  `${revocation.target} ${said}${termText(revocation)} (${revocation.id})`

/** Of an operator no agent knows anything. */
const nobody = (target: string) => (target.startsWith('operator/') ? '' : 'No agent had to cut anything.\n')

const late = (target: string) => `time is over; see \`fleetcat wait ${target} --for revoked\`\n`

/** The same as far as there is room; of more than that the counts, and the rows that are not as they should be. */
export function board(orders: readonly Order[], style: BoardStyle): string {
  const tableStyle = { wide: false, headers: true, paint: style.paint, now: style.now }
  const least = orders.reduce((sum, { revocation }) => sum + 1 + revocation.receipts.length, 0)
  if (least <= style.room) {
    const whole = wholeBoard(orders, tableStyle)
    if (lineCount(whole) <= style.room) return whole
  }
  const head = `${heading(orders)}\n${progressLines(orders, style)}\n`
  const overdue = orders.filter(order => order.overdue)
  const [first] = overdue
  const tail = first
    ? overdue.length === 1
      ? late(first.revocation.target)
      : `time is over for ${overdue.length} of them; see \`fleetcat revocations\`\n`
    : ''
  // A title above the rows, and a line below that says how many there are more.
  const room = Math.max(1, style.room - lineCount(head) - lineCount(tail) - 2)
  const rows = exceptions(orders, room)
  const shown = table(rows.slice(0, room), columnsOf(orders), tableStyle)
  const more = rows.length > room ? `… ${rows.length - room} more; ${where(orders)}\n` : ''
  return `${head}${shown}${more}${tail}`
}

const lineCount = (text: string) => text.split('\n').length - 1

function heading(orders: readonly Order[]): string {
  const [only] = orders
  return orders.length === 1 && only ? title(only) : `${orders.length} targets revoked`
}

const where = ([first, ...others]: readonly Order[]) =>
  first && others.length === 0
    ? `\`fleetcat describe ${revocations.name(first.revocation)}\` shows all`
    : '`fleetcat revocations -o wide` shows all'

const columnsOf = (orders: readonly Order[]): readonly Column<Row>[] =>
  orders.length === 1 ? receiptColumns : [{ title: 'TARGET', cell: row => row.target }, ...receiptColumns]

/** In the order in which somebody has to see to them. */
const gravity = ['refused', 'warned', 'fenced', 'pending']

const kindOf = ({ verdict, warning }: ReceiptItem) => (verdict === 'cut' && warning ? 'warned' : verdict)

/** Who is only still to answer is named when few are left. */
function exceptions(orders: readonly Order[], room: number): Row[] {
  const rows = orders.flatMap(({ revocation: { target, receipts } }) =>
    receipts.filter(receipt => kindOf(receipt) !== 'cut').map(receipt => ({ ...receipt, target })),
  )
  const settled = rows.filter(({ verdict }) => verdict !== 'pending')
  return (rows.length <= room ? rows : settled).sort(
    (a, b) => gravity.indexOf(kindOf(a)) - gravity.indexOf(kindOf(b)),
  )
}

const verdicts = ['cut', 'fenced', 'refused', 'pending'] as const

/** `[████████░░] 870 of 1000 agents`, and below `868 cut (1204 connections), 2 fenced, 130 pending`. */
function progressLines(orders: readonly Order[], { columns, paint }: BoardStyle): string {
  const receipts = orders.flatMap(({ revocation }) => revocation.receipts)
  const byVerdict = verdicts.map(verdict => ({
    verdict,
    n: receipts.filter(each => each.verdict === verdict).length,
  }))
  const answered = byVerdict.filter(({ verdict }) => verdict !== 'pending')
  const done = answered.reduce((sum, { n }) => sum + n, 0)
  const cut = receipts.reduce((sum, { connectionsCut }) => sum + connectionsCut, 0)
  const parts = byVerdict
    .filter(({ n }) => n > 0)
    .map(({ verdict, n }) =>
      paint(
        `${n} ${verdict}${verdict === 'cut' ? ` (${count(cut, 'connection')})` : ''}`,
        colourOfState(verdict),
      ),
    )
  const shares = answered.map(({ verdict, n }) => ({ n, colour: colourOfState(verdict) }))
  const width = Math.max(10, Math.min(50, columns - 30))
  const what = orders.length === 1 ? 'agents' : 'verdicts'
  return `${bar(shares, receipts.length, width, paint)} ${done} of ${receipts.length} ${what}\n${parts.join(', ')}`
}
