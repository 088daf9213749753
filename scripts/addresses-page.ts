import { defaultLines } from '#agent/ceiling.ts'
import type { EndpointKind } from '#relay/endpoint.ts'
import { absentKinds } from '#relay/endpoints/absent.ts'
import { aliases } from '#relay/endpoints/aliases.ts'
import { groupsOf, kindOf, kinds } from '#relay/endpoints/index.ts'
import { privilegeOptions } from '#relay/option-groups.ts'
import type { OptionGroup, OptionSpec } from '#relay/options.ts'

/** The reference of addresses, as the table of kinds has it. */
export function addressesPage(): string {
  const chapters = chaptersOf(kinds)
  return [
    introduction,
    ceiling(),
    '## The kinds',
    table(
      ['address', 'stands as', 'what it is'],
      families().map(family => [
        `[${code(family.first.syntax)}](#${anchor(titleOf(family))})${versionsOf(family)}`,
        roles[family.first.role],
        prose(family.first.summary),
      ]),
    ),
    ...families().map(family => kindSection(family, chapters)),
    '## The options',
    'A name that is not listed for a kind is an error there; it is never ignored. Times are in seconds unless a unit is written.',
    ...chapters.map(optionSection),
    '### Refused everywhere',
    table(...refusedTable(privilegeOptions)),
    absent(),
  ].join('\n\n')
}

const introduction = `# Addresses

This page is made from the table of kinds in the code by \`npm run docs\`. \`fleetcat addresses KEYWORD\` says the same at a terminal.

An address is written as socat writes it: \`KEYWORD:argument:…,option=value,…\`. Keywords and options may be in any letter case. An
address in brackets is IPv6. \`READ!!WRITE\` reads from one address and writes to another. \`-\` is STDIO, and an absolute path is GOPEN.`

const roles = {
  listen: "a relay's first address",
  target: 'a target',
  both: 'either',
} as const

function ceiling(): string {
  return `## What needs no line in agent.yaml

A host agrees to these by itself. All else needs a line under \`permit:\`, which the refusal prints.

\`\`\`yaml
permit:
${defaultLines.map(line => `  - ${quoted(line)}\n`).join('')}\`\`\``
}

/** YAML takes \`[\` for the begin of a list. */
const quoted = (line: string) => (/[[\]]/.test(line) ? `"${line}"` : line)

/** A kind and those that differ from it in the IP version alone. */
interface Family {
  readonly first: EndpointKind
  readonly members: readonly EndpointKind[]
}

const base = (keyword: string) => keyword.replace(/^(TCP|UDP)[46]/, '$1')

function families(): Family[] {
  const found = Map.groupBy(kinds, ({ keyword }) => base(keyword))
  return [...found.values()].map(members => ({ first: members[0]!, members }))
}

const titleOf = ({ members }: Family) => members.map(({ keyword }) => keyword).join(', ')

const versionsOf = ({ members }: Family) =>
  members.length > 1
    ? `, ${members
        .slice(1)
        .map(({ keyword }) => keyword)
        .join(', ')}`
    : ''

/** As GitHub makes it of a heading. */
const anchor = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')

function kindSection(family: Family, chapters: readonly Chapter[]): string {
  const { first, members } = family
  const others = members.flatMap(({ keyword, aliases: own }) => [
    ...own,
    ...[...aliases].filter(([, of]) => of === keyword).map(([alias]) => alias),
  ])
  const lines = defaultLines.filter(line => kindsOfLine(line).includes(first.keyword))
  const options = chapters.filter(({ of }) => of.includes(first.keyword))
  return [
    `### ${titleOf(family)}`,
    prose(`${first.summary[0]!.toUpperCase()}${first.summary.slice(1)}.`),
    [
      `- written: ${members.map(({ syntax }) => `\`${syntax}\``).join(', ')}`,
      ...(others.length > 0 ? [`- also called: ${others.map(name => `\`${name}\``).join(', ')}`] : []),
      `- stands as: ${roles[first.role]}`,
      `- without a line in agent.yaml: ${whereWithoutLine(first, lines)}`,
      ...(first.role === 'listen' ? [] : [`- health checks: ${first.checkable ? 'yes' : 'no'}`]),
      `- options: ${options.map(({ title }) => `[${title}](#${anchor(`Options: ${title}`)})`).join(', ')}`,
    ].join('\n'),
  ].join('\n\n')
}

/** The kinds that a line of a ceiling speaks of. */
function kindsOfLine(line: string): string[] {
  const keyword = line.split(':')[0]!
  return kinds
    .filter(kind => kind.keyword === keyword || kind.covers?.includes(keyword))
    .map(kind => kind.keyword)
}

function whereWithoutLine({ byHand }: EndpointKind, lines: readonly string[]): string {
  if (byHand) return prose(`never on an agent: ${byHand}`)
  if (lines.length === 0) return 'nowhere'
  if (lines.some(line => line.endsWith(':*:*'))) return 'everywhere but where it is always denied'
  if (lines.some(line => line.includes('127.0.0.0/8'))) return 'on loopback'
  return `as ${lines.map(code).join(', ')}`
}

/** A group of options, and the kinds that have it. Groups of one name that differ are told apart in their titles. */
interface Chapter {
  readonly title: string
  readonly group: OptionGroup
  readonly of: readonly string[]
}

function chaptersOf(all: readonly EndpointKind[]): Chapter[] {
  const found = new Map<string, { group: OptionGroup; of: string[] }>()
  for (const kind of all) {
    for (const group of groupsOf(kind)) {
      const key = JSON.stringify([group.name, Object.values(group.options)])
      const chapter = found.get(key) ?? { group, of: [] }
      chapter.of.push(kind.keyword)
      found.set(key, chapter)
    }
  }
  const taken = new Set<string>()
  return [...found.values()].map(({ group, of }) => {
    const title = taken.has(group.name) ? `${group.name} of ${of[0]}` : group.name
    taken.add(title)
    return { title, group, of }
  })
}

function optionSection({ title, group, of }: Chapter): string {
  const options = Object.values(group.options).filter(({ unsupported }) => !unsupported)
  const isOften = of.length > kinds.length / 2
  return [
    `### Options: ${title}`,
    isOften ? 'Of most kinds.' : `Of ${of.join(', ')}.`,
    ...(options.length > 0 ? [table(['option', 'also', 'what it does'], options.map(optionRow))] : []),
    ...(options.length < Object.keys(group.options).length
      ? ['Known from socat, and refused:', table(...refusedTable(group))]
      : []),
  ].join('\n\n')
}

const optionRow = ({ name, aliases, syntax, summary }: OptionSpec) => [
  code(syntax ? `${name}=${syntax}` : name),
  aliases.map(code).join(', '),
  prose(summary),
]

function refusedTable({ options }: OptionGroup): [string[], string[][]] {
  const refused = Object.values(options).filter(({ unsupported }) => unsupported)
  const rows = refused.map(({ name, aliases, unsupported }) => [
    [name, ...aliases].map(code).join(', '),
    prose(unsupported!),
  ])
  return [['option', 'why, and what to write instead'], rows]
}

function absent(): string {
  const gone = absentKinds.filter(({ keyword }) => !kindOf(keyword))
  const rows = [...Map.groupBy(gone, ({ instead }) => instead)].map(([instead, alike]) => [
    alike
      .flatMap(({ keyword, aliases }) => [keyword, ...aliases])
      .map(code)
      .join(', '),
    instead === undefined ? 'nothing yet' : prose(instead),
  ])
  return `## Kinds that are not here\n\n${table(['kinds', 'what to do instead'], rows)}\n`
}

/** Outside of code, Markdown takes these for marks of its own. */
const prose = (text: string) =>
  text
    .split('`')
    .map((part, i) => (i % 2 === 1 ? part : part.replace(/[<*_]/g, '\\$&')))
    .join('`')

const code = (text: string) => `\`${text}\``

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(titles), `|${'---|'.repeat(titles.length)}`, ...rows.map(line)].join('\n')
}
