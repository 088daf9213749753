import { commands } from '../commands.ts'
import type { CommandWords, OptionWords, Words } from './grammar.ts'

export function fish(all: readonly CommandWords[]): string {
  return [
    '# fleetcat for fish. Load it with: fleetcat completion fish | source',
    pathFunction(all),
    'complete -c fleetcat -f',
    ...commands.map(({ name, summary }) =>
      line("__fleetcat_at ''", [`-a ${quoted(name)}`, described(summary)]),
    ),
    ...all.flatMap(lines),
    '',
  ].join('\n')
}

/** Whether the commands typed so far are exactly these. */
function pathFunction(all: readonly CommandWords[]): string {
  const known = all.map(({ path }) => quoted(path.join(' '))).join(' ')
  return `function __fleetcat_at
    set -l path ''
    for word in (commandline -opc)[2..-1]
        set -l longer (string trim -- "$path $word")
        if contains -- $longer ${known}
            set path $longer
        end
    end
    test "$path" = "$argv[1]"
end`
}

function lines({ path, options, subcommands, arguments: given }: CommandWords): string[] {
  const here = `__fleetcat_at ${quoted(path.join(' '))}`
  const sources = [...new Set(given.map(words => offered(words)).filter(text => text !== undefined))]
  return [
    ...subcommands.map(name => line(here, [`-a ${quoted(name)}`])),
    ...options.map(option => line(here, optionParts(option))),
    ...sources.map(source => line(here, [source])),
  ]
}

function optionParts({ flags, summary, value }: OptionWords): string[] {
  const names = flags.map(flag => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`))
  if (!value) return [...names, described(summary)]
  // Exclusive: fish would offer files, too, beside what an option takes.
  const takes = value.from === 'files' || value.from === 'directories' ? '-r' : '-x'
  return [...names, takes, offered(value) ?? '', described(summary)]
}

/** The words for one place; undefined where there are none to offer. */
function offered(words: Words): string | undefined {
  switch (words.from) {
    case 'files':
      return '-F'
    case 'directories':
      return "-a '(__fish_complete_directories)'"
    case 'fleet':
      return `-a '(fleetcat __complete ${words.kind} 2>/dev/null)'`
    case 'list':
      return `-a ${quoted(words.words.join(' '))}`
    default:
      return undefined
  }
}

const line = (condition: string, parts: readonly string[]) =>
  `complete -c fleetcat -n ${quoted(condition)} ${parts.filter(part => part !== '').join(' ')}`

const described = (summary: string) => `-d ${quoted(summary)}`

const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
