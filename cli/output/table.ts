import { sanitise } from '#telemetry/sanitise.ts'
import type { Colour, Paint } from './colour.ts'

export interface Column<Item> {
  readonly title: string
  readonly cell: (item: Item, now: number) => string
  /** Only with `-o wide`. */
  readonly wide?: boolean
  /** Numbers line up at their end. */
  readonly right?: boolean
  readonly colour?: (item: Item) => Colour | undefined
}

export interface TableStyle {
  readonly wide: boolean
  readonly headers: boolean
  readonly paint: Paint
  readonly now: number
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
  const rows = items.map(item => shown.map(column => sanitise(column.cell(item, style.now)) || '-'))
  const widths = shown.map((column, i) =>
    Math.max(style.headers ? column.title.length : 0, ...rows.map(row => row[i]!.length)),
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
