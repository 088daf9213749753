import { type Item, type OutputOptions, type Presentation, print, renderList, versioned } from './print.ts'
import { json } from './structured.ts'

/**
 * Shows each state as it comes: in place on a terminal, one below the other elsewhere; with jsonl one line for each
 * item that is new, has changed or is gone, and `change` says which.
 */
export async function showStates<T extends Item>(
  states: AsyncIterable<readonly T[]>,
  how: Presentation<T>,
  options: OutputOptions,
): Promise<void> {
  const show = options.output === 'jsonl' ? changes(how) : pages(how, options)
  for await (const items of states) await show(items)
}

function pages<T extends Item>(how: Presentation<T>, options: OutputOptions) {
  const tabular = options.output === 'table' || options.output === 'wide'
  if (tabular && process.stdout.isTTY) return redrawn(how, options)
  let first = true
  return async (items: readonly T[]) => {
    const text = await renderList(items, how, options)
    if (tabular && !first) print('\n')
    print(options.output === 'yaml' ? `---\n${text}` : text)
    first = false
  }
}

/** Ages and countdowns move on their own, so the page is drawn each second too. */
function redrawn<T extends Item>(how: Presentation<T>, options: OutputOptions) {
  let latest: readonly T[] = []
  const draw = async () => print(page((await renderList(latest, how, options)) || 'none\n', process.stdout))
  print(enter)
  process.once('exit', () => print(leave))
  setInterval(draw, 1_000).unref()
  return async (items: readonly T[]) => {
    latest = items
    await draw()
  }
}

/** Long lines are cut at the edge: a wrapped one would push the page upwards. */
const enter = '\u001b[2J\u001b[?7l\u001b[?25l'
const leave = '\u001b[?7h\u001b[?25h'
const home = '\u001b[H'
const clearLine = '\u001b[K'
const clearBelow = '\u001b[J'

/** The page from the top left corner, cut to what the screen can hold, so that nothing flickers or scrolls. */
export function page(text: string, { rows }: { rows?: number }): string {
  const lines = text.split('\n').slice(0, -1)
  const room = Math.max(2, (rows || 24) - 1)
  const shown =
    lines.length > room ? [...lines.slice(0, room - 1), `… ${lines.length - room + 1} more`] : lines
  return `${home}${shown.map(line => `${line}${clearLine}\n`).join('')}${clearBelow}`
}

/** Answers a function that prints what differs from the state it was given before. */
export function changes<T extends Item>(how: Presentation<T>, write: (line: string) => void = print) {
  let before = new Map<string, { item: T; text: string }>()
  return (items: readonly T[]) => {
    const now = new Map(items.map(item => [how.key(item), { item, text: JSON.stringify(item) }]))
    const line = (item: T, change: 'added' | 'changed' | 'removed') =>
      write(json({ ...versioned(item), change }, { pretty: false }))
    for (const [key, { item, text }] of now) {
      const known = before.get(key)
      if (!known) line(item, 'added')
      else if (known.text !== text) line(item, 'changed')
    }
    for (const [key, { item }] of before) if (!now.has(key)) line(item, 'removed')
    before = now
  }
}
