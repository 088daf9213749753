import { sanitise } from '#telemetry/sanitise.ts'
import type { Colour, Paint } from './colour.ts'
import { fitted, shortened } from './fit.ts'

export interface Column<Item> {
  readonly title: string
  readonly cell: (item: Item, now: number) => string
  /** Only with `-o wide`. */
  readonly wide?: boolean
  /** Numbers line up at their end. */
  readonly right?: boolean
  /** Long text that a reader can do with less of, where there is not enough room. */
  readonly shrinks?: boolean
  readonly colour?: (item: Item) => Colour | undefined
}

export interface TableStyle {
  readonly wide: boolean
  readonly headers: boolean
  readonly paint: Paint
  readonly now: number
  /** How wide a row may be; as wide as it needs where nothing is said. */
  readonly width?: number | undefined
}

const gap = '  '

/** Rows of aligned text, one line each; nothing at all for no rows. */
export function table<Item>(
  items: readonly Item[],
  columns: readonly Column<Item>[],
  style: TableStyle,
): string {
  if (items.length === 0) return ''
  const shown = columns.filter(column => style.wide || !column.wide)
  const whole = items.map(item => shown.map(column => sanitise(column.cell(item, style.now)) || '-'))
  const wanted = shown.map((column, i) =>
    Math.max(style.headers ? column.title.length : 0, ...whole.map(row => row[i]!.length)),
  )
  const room = (style.width ?? Number.POSITIVE_INFINITY) - gap.length * (shown.length - 1)
  const widths = fitted(
    wanted,
    shown.map(({ shrinks = false }) => shrinks),
    room,
  )
  const rows = whole.map(row =>
    row.map((text, i) => (shown[i]!.shrinks ? shortened(text, widths[i]!) : text)),
  )
  const line = (cells: string[], colours: (Colour | undefined)[]) =>
    cells
      .map((text, i) => {
        const padding = ' '.repeat(widths[i]! - text.length)
        const painted = style.paint(text, colours[i])
        if (shown[i]!.right) return padding + painted
        return i === cells.length - 1 ? painted : painted + padding
      })
      .join(gap)
  const body = rows.map((row, r) =>
    line(
      row,
      shown.map(column => column.colour?.(items[r]!)),
    ),
  )
  if (!style.headers) return `${body.join('\n')}\n`
  const title = line(
    shown.map(column => column.title),
    shown.map(() => 'grey'),
  )
  return `${[title, ...body].join('\n')}\n`
}
