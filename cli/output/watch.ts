import { sanitise } from '#telemetry/sanitise.ts'
import { note } from '../failure.ts'
import { heldTerminal } from './held.ts'
import {
  absence,
  type Item,
  isTabular,
  type OutputOptions,
  type Presentation,
  print,
  renderList,
  versioned,
} from './print.ts'
import { json } from './structured.ts'

/** One state of what is watched, or only what a person should know while there is none. */
export interface State<T extends Item> {
  readonly items?: readonly T[]
  /** Empty if there is nothing to say. */
  readonly notice: string
}

export interface WatchOptions extends OutputOptions {
  /** Only some of all there are were asked for. */
  readonly filtered: boolean
}

interface Display<T extends Item> extends Disposable {
  show(items: readonly T[]): Promise<void>
  notice(text: string): Promise<void>
}

/**
 * Shows each state as it comes: in place on a terminal, one below the other elsewhere; with jsonl one line for each
 * item that is new, has changed or is gone, and `change` says which. Notices go to stderr, or below the page.
 */
export async function showStates<T extends Item>(
  states: AsyncIterable<State<T>>,
  how: Presentation<T>,
  options: WatchOptions,
): Promise<void> {
  const inPlace = isTabular(options) && process.stdout.isTTY
  using display = inPlace ? redrawn(how, options) : appended(how, options)
  let said = ''
  for await (const { items, notice } of states) {
    if (items) await display.show(items)
    if (notice !== said) await display.notice(notice)
    said = notice
  }
}

function appended<T extends Item>(how: Presentation<T>, options: WatchOptions): Display<T> {
  return {
    show: options.output === 'jsonl' ? lines(how) : pages(how, options),
    async notice(text) {
      if (text) note(text)
    },
    [Symbol.dispose]() {},
  }
}

function lines<T extends Item>(how: Presentation<T>) {
  const show = changes(how)
  return async (items: readonly T[]) => show(items)
}

function pages<T extends Item>(how: Presentation<T>, options: WatchOptions) {
  let first = true
  return async (items: readonly T[]) => {
    const text = await renderList(items, how, options)
    if (isTabular(options) && !first) print('\n')
    print(options.output === 'yaml' ? `---\n${text}` : text)
    first = false
  }
}

/** Ages and countdowns move on their own, so the page is drawn each second too. */
function redrawn<T extends Item>(how: Presentation<T>, options: WatchOptions): Display<T> {
  let latest: readonly T[] | undefined
  let footer = ''
  const draw = async () => {
    if (!latest) return
    const text = await renderList(latest, how, options, process.stdout.columns)
    print(page(text || `${absence(how, options.filtered)}\n`, process.stdout, footer))
  }
  const terminal = heldTerminal()
  print(clearScreen)
  const timer = setInterval(draw, 1_000).unref()
  return {
    async show(items) {
      latest = items
      await draw()
    },
    async notice(text) {
      footer = text
      if (text && !process.stderr.isTTY) note(text)
      await draw()
    },
    [Symbol.dispose]() {
      clearInterval(timer)
      terminal[Symbol.dispose]()
    },
  }
}

const clearScreen = '\u001b[2J'
const home = '\u001b[H'
/** Before a line, for behind one that ends at the edge it would take its last character. */
const clearLine = '\u001b[K'
const clearBelow = '\u001b[J'

/**
 * The page from the top left corner, cut to what the screen can hold, so that nothing flickers or scrolls. The footer
 * stays whole, below what is left of it.
 */
export function page(
  text: string,
  { rows, columns }: { rows?: number; columns?: number },
  footer = '',
): string {
  const lines = text.split('\n').slice(0, -1)
  const below = footer ? ['', ...folded(sanitise(footer, 4_096), columns || 80)] : []
  const room = Math.max(2, (rows || 24) - 1 - below.length)
  const shown =
    lines.length > room ? [...lines.slice(0, room - 1), `… ${lines.length - room + 1} more`] : lines
  return `${home}${[...shown, ...below].map(line => `${clearLine}${line}\n`).join('')}${clearBelow}`
}

/** Broken at blanks where there are any: nothing wraps by itself while the page is drawn. */
function folded(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1)!
    if (last === '') lines[lines.length - 1] = word
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
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
