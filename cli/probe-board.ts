import { bar } from './output/bar.ts'
import type { Paint } from './output/colour.ts'
import { table } from './output/table.ts'
import { colourOf, isAnswer, type ProbeItem, pending, probes, verdictText } from './views/probe.ts'

export interface ProbeBoardStyle {
  readonly wide: boolean
  readonly headers: boolean
  /** Lines that there is room for. */
  readonly room: number
  readonly columns: number
  readonly paint: Paint
  readonly now: number
}

/** A row for each agent; of more than there is room for the counts, and the rows of those where it is not open. */
export function probeBoard(items: readonly ProbeItem[], style: ProbeBoardStyle): string {
  const headers = style.headers ? 1 : 0
  if (items.length + headers <= style.room) return table(items, probes.columns, style)
  const head = counts(items, style)
  const others = items.filter(({ verdict }) => verdict !== 'open' && verdict !== pending)
  // Beside the two lines of the counts and the one that says how many there are more.
  const room = Math.max(1, style.room - headers - 3)
  const more = others.length > room ? `… ${others.length - room} more\n` : ''
  return `${head}${table(others.slice(0, room), probes.columns, style)}${more}`
}

/** `[██████░░] 870 of 1000 agents`, and below `868 open, 2 timed out, 130 pending`. */
function counts(items: readonly ProbeItem[], { columns, paint }: ProbeBoardStyle): string {
  const groups = Map.groupBy(items, ({ verdict }) => verdict)
  const done = items.filter(({ verdict }) => verdict !== pending)
  const open = done.filter(({ verdict }) => verdict === 'open').length
  const silent = done.filter(item => !isAnswer(item)).length
  const shares = [
    { n: open, colour: 'green' },
    { n: done.length - open - silent, colour: 'red' },
    { n: silent, colour: 'yellow' },
  ] as const
  const width = Math.max(10, Math.min(50, columns - 30))
  const parts = [...groups.values()].map(([first, ...rest]) =>
    paint(`${rest.length + 1} ${verdictText(first!)}`, colourOf(first!)),
  )
  return `${bar(shares, items.length, width, paint)} ${done.length} of ${items.length} agents\n${parts.join(', ')}\n`
}
