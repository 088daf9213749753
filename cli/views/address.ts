import type { EndpointKind } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import type { OptionGroup, OptionSpec } from '#relay/options.ts'
import type { Presentation } from '../output/print.ts'
import { sections } from '../output/sections.ts'

export interface AddressOptionItem {
  readonly name: string
  readonly aliases: readonly string[]
  readonly syntax: string
  readonly summary: string
  /** Why it is refused here, and what to write instead. */
  readonly unsupported: string | null
}

export interface AddressItem {
  readonly kind: 'AddressKind'
  readonly keyword: string
  readonly aliases: readonly string[]
  readonly syntax: string
  readonly summary: string
  readonly role: string
  readonly groups: readonly { readonly name: string; readonly options: readonly AddressOptionItem[] }[]
}

/** `groups` are the options of the kind and those of every kind. */
export function addressItem(
  { keyword, aliases, syntax, summary, role }: EndpointKind,
  groups: readonly OptionGroup[],
): AddressItem {
  return {
    kind: 'AddressKind',
    keyword,
    aliases,
    syntax,
    summary,
    role,
    groups: groups.map(({ name, options }) => ({ name, options: Object.values(options).map(optionItem) })),
  }
}

const optionItem = ({ name, aliases, syntax, summary, unsupported }: OptionSpec): AddressOptionItem => ({
  name,
  aliases,
  syntax,
  summary,
  unsupported: unsupported ?? null,
})

export const addresses: Presentation<AddressItem> = {
  listKind: 'AddressKindList',
  none: 'No kind of address.',
  name: item => item.keyword,
  key: item => item.keyword,
  columns: [
    { title: 'ADDRESS', cell: item => item.syntax },
    { title: 'ROLE', cell: item => item.role },
    { title: 'SUMMARY', cell: item => item.summary },
    { title: 'ALIASES', wide: true, cell: item => item.aliases.join(',') },
  ],
}

export function describeAddress({ syntax, summary, aliases, role, groups }: AddressItem): string {
  const roles: Record<string, string> = { listen: 'the first address of a relay', target: 'a target' }
  return sections([
    {
      fields: [
        ['Address', syntax],
        ['Does', summary],
        ['Stands as', roles[role] ?? 'the first address or a target'],
        ['Aliases', aliases.join(', ')],
      ],
    },
    ...groups.map(({ name, options }) => ({
      title: `Options: ${name}`,
      fields: options
        .filter(({ unsupported }) => unsupported === null)
        .map(({ name, aliases, syntax, summary }) => {
          const written = syntax ? `${name}=${syntax}` : name
          return [written, aliases.length > 0 ? `${summary} (also ${aliases.join(', ')})` : summary] as const
        }),
    })),
    {
      title: 'Refused options of socat',
      fields: groups
        .flatMap(({ options }) => options)
        .filter(({ unsupported }) => unsupported !== null)
        .map(({ name, unsupported }) => [name, unsupported] as const),
    },
  ])
}

export function unknownKeyword(
  keyword: string,
  absent: { instead?: string } | undefined,
  near: string,
): RelayError {
  if (absent) {
    return new RelayError('unsupported', {
      what: `address kind ${keyword}`,
      why: 'this fleetcat does not have it',
      fix: absent.instead ?? '`fleetcat addresses` lists the kinds that it has',
    })
  }
  return new RelayError('not-found', {
    what: `address kind ${keyword}`,
    why: 'there is none of that name',
    fix: near,
  })
}
