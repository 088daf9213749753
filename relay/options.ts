import { type Address, addressError, type Option, shown } from './address.ts'
import type { RelayError } from './errors.ts'
import { nearest } from './nearest.ts'

/** What a reader makes of an option's text: a value, or what is wrong with it and what would be right. */
export type Reading<T> = { readonly value: T } | { readonly problem: string; readonly write: string }

/** One option: its names, its help, and how its text becomes a value. */
export interface OptionSpec<T = unknown> {
  readonly name: string
  readonly aliases: readonly string[]
  /** As in the reference: `<seconds>`; empty for a flag. */
  readonly syntax: string
  readonly summary: string
  /** It is so whether it is written or not. */
  readonly always?: true
  /** Why this option is refused, and what to write instead. A refused option is never ignored. */
  readonly unsupported?: string
  /** `text` is undefined where the address has no `=`. */
  read(text: string | undefined): Reading<T>
}

/** Options that belong together and that rows of the table reuse. Keys are what code calls them. */
export interface OptionGroup {
  readonly name: string
  readonly options: { readonly [key: string]: OptionSpec }
}

type ValueOf<S> = S extends OptionSpec<infer T> ? T : never
type ValuesOf<G> = G extends OptionGroup
  ? { readonly [K in keyof G['options']]?: ValueOf<G['options'][K]> }
  : never
type Intersection<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void ? I : never

/** The options of these groups as values: `{ connectTimeout?: number; bind?: string; … }`. */
export type OptionValues<Groups extends readonly OptionGroup[]> = Intersection<ValuesOf<Groups[number]>>

/** Which kinds have an option of this name: only the table knows, so it lends this question to `checkOptions`. */
export type Whose = (option: string) => readonly string[]

/**
 * The address's options as typed values; options that are not written are absent. Throws a RelayError for an
 * option that is unknown, misplaced, written twice, without a value, with a bad one, or not supported.
 */
export function readOptions<const Groups extends readonly OptionGroup[]>(
  address: Address,
  groups: Groups,
): OptionValues<Groups> {
  checkOptions(address, groups)
  const values: Record<string, unknown> = {}
  for (const option of address.options) {
    const [key, spec] = find(option.name, groups)!
    const reading = spec.read(option.value)
    if ('problem' in reading) {
      const written = option.value === undefined ? option.name : `${option.name}=${option.value}`
      throw refusal(
        address,
        option,
        'usage',
        `\`${shown(written)}\`: ${reading.problem}`,
        `Write ${reading.write}`,
      )
    }
    values[key] = reading.value
  }
  return values as OptionValues<Groups>
}

/** The part of `readOptions` that looks at names only. `whose` makes the refusal of a misplaced option better. */
export function checkOptions(
  address: Address,
  groups: readonly OptionGroup[],
  whose: Whose = () => [],
): void {
  const seen = new Map<OptionSpec, Option>()
  for (const option of address.options) {
    const found = find(option.name, groups)
    if (!found) throw unknownOption(address, option, groups, whose)
    const [, spec] = found
    if (spec.unsupported) {
      throw refusal(
        address,
        option,
        'unsupported',
        `option \`${option.name}\` is not supported`,
        spec.unsupported,
      )
    }
    const earlier = seen.get(spec)
    if (earlier) {
      const other =
        earlier.name === option.name ? 'twice' : `twice, as \`${earlier.name}\` and as \`${option.name}\``
      throw refusal(address, option, 'usage', `option \`${spec.name}\` is given ${other}`, 'Keep one of them')
    }
    seen.set(spec, option)
  }
}

/** The address's options under their proper names, once `checkOptions` is content with them. */
export function canonicalOptions(address: Address, groups: readonly OptionGroup[]): Option[] {
  checkOptions(address, groups)
  return address.options.map(option => ({ ...option, name: find(option.name, groups)![1].name }))
}

/** Has one of these groups an option of this name? */
export function hasOption(groups: readonly OptionGroup[], name: string): boolean {
  return find(name, groups) !== undefined
}

function find(name: string, groups: readonly OptionGroup[]): [key: string, spec: OptionSpec] | undefined {
  for (const group of groups) {
    for (const [key, spec] of Object.entries(group.options)) {
      if (spec.name === name || spec.aliases.includes(name)) return [key, spec]
    }
  }
  return undefined
}

function unknownOption(
  address: Address,
  option: Option,
  groups: readonly OptionGroup[],
  whose: Whose,
): RelayError {
  const owners = whose(option.name)
  const why = `option \`${option.name}\` is not one of ${address.keyword}`
  const [first, ...others] = owners
  if (first !== undefined) {
    const owner = others.length === 0 ? `${first} has it` : `${owners.slice(0, 3).join(', ')} have it`
    return refusal(address, option, 'usage', `${why}; ${owner}`, 'Remove it, or use that kind of address')
  }
  const offered = groups.flatMap(group => Object.values(group.options).filter(spec => !spec.unsupported))
  const near = nearest(
    option.name,
    offered.flatMap(spec => [spec.name, ...spec.aliases]),
  )
  const fix = near
    ? `Did you mean \`${near}\`?`
    : `\`fleetcat addresses ${address.keyword}\` lists its options`
  return refusal(address, option, 'usage', why, fix)
}

function refusal({ text }: Address, { at }: Option, code: 'usage' | 'unsupported', why: string, fix: string) {
  return addressError(text, at, { code, why, fix })
}
