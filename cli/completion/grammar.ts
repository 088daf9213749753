import type { Argument, Command, Option } from 'commander'
import { commands } from '../commands.ts'

/** Where the words for one place on the command line come from. */
export type Words =
  | { readonly from: 'nothing' }
  | { readonly from: 'files' | 'directories' }
  /** Asked of `fleetcat __complete` while somebody types. */
  | { readonly from: 'fleet'; readonly kind: string }
  | { readonly from: 'list'; readonly words: readonly string[] }

export interface OptionWords {
  readonly flags: readonly string[]
  readonly summary: string
  /** Absent for a flag. */
  readonly value?: Words
}

/** What may stand behind one command: `list`, or `token create`. */
export interface CommandWords {
  readonly path: readonly string[]
  readonly summary: string
  readonly options: readonly OptionWords[]
  readonly subcommands: readonly string[]
  readonly arguments: readonly Words[]
  /** The last argument may be repeated. */
  readonly variadic: boolean
}

/** The whole command line, read from the very definitions that parse it. */
export async function grammar(): Promise<CommandWords[]> {
  const trees = await Promise.all(
    commands.map(async ({ name, summary, load }) => walk((await load()).command(), [name], summary)),
  )
  return trees.flat()
}

function walk(command: Command, path: readonly string[], summary: string): CommandWords[] {
  const { registeredArguments: given } = command
  return [
    {
      path,
      summary,
      options: [...command.options.map(optionWords), { flags: ['-h', '--help'], summary: 'this help' }],
      subcommands: command.commands.map(child => child.name()),
      arguments: given.map(argument => argumentWords(argument, path)),
      variadic: given.at(-1)?.variadic ?? false,
    },
    ...command.commands.flatMap(child => walk(child, [...path, child.name()], child.description())),
  ]
}

function optionWords(option: Option): OptionWords {
  const flags = [option.short, option.long].filter(flag => typeof flag === 'string')
  const summary = option.description
  if (!option.required && !option.optional) return { flags, summary }
  const placeholder = /[<[]([^>\]]+)/.exec(option.flags)?.[1] ?? ''
  return { flags, summary, value: listed(option.argChoices) ?? named(placeholder) }
}

function argumentWords(argument: Argument, path: readonly string[]): Words {
  const name = argument.name()
  if (name === 'target' && path[0] !== 'describe') return { from: 'fleet', kind: 'revocable' }
  return listed(argument.argChoices) ?? named(name)
}

const listed = (words: readonly string[] | undefined): Words | undefined => words && { from: 'list', words }

/** The placeholder of an option or argument says what it takes. */
function named(placeholder: string): Words {
  return byPlaceholder[placeholder] ?? { from: 'nothing' }
}

const byPlaceholder: Record<string, Words> = {
  agent: { from: 'fleet', kind: 'agents' },
  relay: { from: 'fleet', kind: 'relays' },
  target: { from: 'fleet', kind: 'targets' },
  context: { from: 'fleet', kind: 'contexts' },
  listen: { from: 'fleet', kind: 'addresses' },
  address: { from: 'fleet', kind: 'addresses' },
  keyword: { from: 'fleet', kind: 'addresses' },
  file: { from: 'files' },
  dir: { from: 'directories' },
  src: { from: 'files' },
  dst: { from: 'files' },
}
