import type { EndpointKind } from '#relay/endpoint.ts'
import { aliases } from '#relay/endpoints/aliases.ts'
import { groupsOf, kinds } from '#relay/endpoints/index.ts'
import type { OptionSpec } from '#relay/options.ts'
import { socatOptions } from './options.ts'

/** The answers to `-h`, `-hh` and `-hhh`, laid out as socat's are, for scripts read them. */
export function helpText(asks: 'help' | 'help-options' | 'help-all'): string {
  const all = asks === 'help-all'
  const lines = [
    'fleetcat socat: one relay on this host, as socat runs it',
    'Usage:',
    'fleetcat socat [options] <bi-address> <bi-address>',
    '   options:',
    ...commandOptions(),
    '   bi-address:',
    '      <single-address>!!<single-address>',
    '      <single-address>',
    '   single-address:',
    '      <address-head>[,<opts>]',
    '   address-head:',
    ...inOrder(addressLines(all)),
    ...(all
      ? [
          '         <num> is a short form for fd:<num>',
          '         <filename> is a short form for gopen:<filename>',
        ]
      : []),
    ...(asks === 'help'
      ? []
      : ['   opts:', '      <opt>{,<opts>}:', '   opt:', ...inOrder(optionLines(all))]),
  ]
  return `${lines.join('\n')}\n`
}

function commandOptions(): string[] {
  const rows = new Map(socatOptions.map(({ syntax, summary }) => [syntax, summary]))
  return [...rows].map(([syntax, summary]) => `      ${syntax.padEnd(16)} ${summary}`)
}

function addressLines(all: boolean): string[] {
  return kinds.flatMap(kind => {
    const { keyword, syntax } = kind
    const shown = spelling(kind)
    const head = `      ${shown}${syntax.slice(keyword.length)}\tgroups=${groupsOf(kind).map(groupName).join(',')}`
    const others = all
      ? otherNames(kind, shown).map(name => `         ${name} is an alias name for ${shown}`)
      : []
    return [head, ...others]
  })
}

/** Socat calls the plain connection `tcp-connect`, and `tcp` its alias. */
function spelling({ keyword, aliases }: EndpointKind): string {
  const name =
    aliases.find(alias => alias === `${keyword}-CONNECT` && !alias.startsWith('OPENSSL')) ?? keyword
  return name.toLowerCase()
}

function otherNames({ keyword, aliases: own }: EndpointKind, shown: string): string[] {
  const further = [...aliases].filter(([, of]) => of === keyword).map(([alias]) => alias)
  return [keyword, ...own, ...further].map(name => name.toLowerCase()).filter(name => name !== shown)
}

function optionLines(all: boolean): string[] {
  const found = new Map<string, { spec: OptionSpec; groups: Set<string> }>()
  for (const kind of kinds) {
    for (const group of groupsOf(kind)) {
      for (const spec of Object.values(group.options)) {
        if (spec.unsupported) continue
        const entry = found.get(spec.name) ?? { spec, groups: new Set() }
        entry.groups.add(groupName(group))
        found.set(spec.name, entry)
      }
    }
  }
  return [...found.values()].flatMap(({ spec: { name, aliases, syntax }, groups }) => [
    `      ${name}\tgroups=${[...groups].join(',')}\ttype=${typeName(syntax)}`,
    ...(all ? aliases.map(alias => `      ${alias} is an alias for ${name}`) : []),
  ])
}

const groupName = ({ name }: { readonly name: string }) => name.toUpperCase().replaceAll(' ', '-')

const typeName = (syntax: string) => (syntax ? syntax.replace(/[<>]/g, '').toUpperCase() : 'BOOL')

/** By bytes, as socat sorts; each line begins with the name, and a tab sorts before what a longer name goes on with. */
const inOrder = (lines: readonly string[]) =>
  lines.toSorted((a, b) => (nameIn(a) < nameIn(b) ? -1 : nameIn(a) > nameIn(b) ? 1 : 0))

const nameIn = (line: string) => /^\s*([^\s:[<]+)/.exec(line)?.[1] ?? line
