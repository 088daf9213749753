import type { Command } from 'commander'
import { note } from '../failure.ts'
import { painter } from './colour.ts'
import { json, yaml } from './structured.ts'
import { type Column, table } from './table.ts'

export const apiVersion = 'fleetcat/v1'

export const formats = ['table', 'wide', 'json', 'jsonl', 'yaml', 'name'] as const
export type Format = (typeof formats)[number]

/** The options that every command with an answer has. */
export interface OutputOptions {
  readonly output: Format
  readonly headers: boolean
}

/** One thing of the fleet, in the shape that scripts read. */
export interface Item {
  readonly kind: string
}

/** How items of one kind are shown. `name` is what other commands take: `relay/web`. */
export interface Presentation<T extends Item> {
  readonly listKind: string
  readonly columns: readonly Column<T>[]
  /** Said to a person when there is no item. */
  readonly none: string
  /** Said instead when only some were asked for. */
  readonly unmatched?: string
  readonly name: (item: T) => string
  /** Tells an item from the others while it changes. */
  readonly key: (item: T) => string
}

/** Adds `-o` and, for commands that print tables, `--no-headers`. */
export function withOutput(command: Command, { headers = true } = {}): Command {
  command.addOption(
    command
      .createOption('-o, --output <format>', 'how to print the answer')
      .choices([...formats])
      .default('table', 'a table'),
  )
  return headers ? command.option('--no-headers', 'leave out the table’s title line') : command
}

export const versioned = <T extends Item>(item: T): { apiVersion: string } & T => ({ apiVersion, ...item })

/** All items in one answer. */
export async function renderList<T extends Item>(
  items: readonly T[],
  how: Presentation<T>,
  { output, headers }: OutputOptions,
  width?: number,
): Promise<string> {
  switch (output) {
    case 'json':
      return json({ apiVersion, kind: how.listKind, items })
    case 'yaml':
      return yaml({ apiVersion, kind: how.listKind, items })
    case 'jsonl':
      return items.map(item => json(versioned(item), { pretty: false })).join('')
    case 'name':
      return items.map(item => `${how.name(item)}\n`).join('')
    default:
      return table(items, how.columns, {
        wide: output === 'wide',
        headers,
        paint: painter(process.stdout),
        now: Date.now(),
        width: output === 'wide' ? undefined : width,
      })
  }
}

/** One item; `human` is what a person reads instead of a table of one row. */
export async function renderItem<T extends Item>(
  item: T,
  name: string,
  output: Format,
  human: () => string,
): Promise<string> {
  switch (output) {
    case 'json':
      return json(versioned(item))
    case 'yaml':
      return yaml(versioned(item))
    case 'jsonl':
      return json(versioned(item), { pretty: false })
    case 'name':
      return `${name}\n`
    default:
      return human()
  }
}

/** Prints a list. Where a person would see nothing at all, says so, beside the data. */
export async function printList<T extends Item>(
  items: readonly T[],
  how: Presentation<T>,
  options: OutputOptions,
  { filtered = false } = {},
): Promise<void> {
  print(await renderList(items, how, options))
  if (items.length === 0 && isTabular(options)) note(absence(how, filtered))
}

/** Whether people read the answer. */
export const isTabular = ({ output }: OutputOptions): boolean => output === 'table' || output === 'wide'

export const absence = <T extends Item>({ none, unmatched }: Presentation<T>, filtered: boolean): string =>
  filtered ? (unmatched ?? none) : none

export function print(text: string): void {
  if (text) process.stdout.write(text)
}
