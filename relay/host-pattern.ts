import type { RelayError } from './errors.ts'
import { glob } from './glob.ts'
import { type Cidr, canonicalIp, parseCidr } from './ip.ts'
import { readPort } from './ports.ts'

export type HostPattern =
  | { readonly is: 'anything' }
  | { readonly is: 'network'; readonly cidr: Cidr }
  | { readonly is: 'name'; readonly matches: (name: string) => boolean }

export type PortPattern =
  | { readonly is: 'anything' }
  | { readonly is: 'ports'; readonly from: number; readonly to: number }

/** Makes the error of what is wrong, and of what would be right. */
export type Refuse = (why: string, fix: string) => RelayError

export function readHostPattern(text: string, refuse: Refuse): HostPattern {
  if (text === '*') return { is: 'anything' }
  if (text.includes('/') || canonicalIp(text) !== undefined) return { is: 'network', cidr: parseCidr(text) }
  const name = plainName(text)
  if (/^[a-z0-9_*.-]{1,253}$/.test(name) && !/^[\d.*]+$/.test(name))
    return { is: 'name', matches: wideGlob(name) }
  throw refuse(
    `\`${text}\` is no host`,
    'Write `*`, an IP, a network like `10.0.0.0/8`, or a name like `*.example.com`',
  )
}

export function readPortPattern(text: string, refuse: Refuse): PortPattern {
  if (text === '*') return { is: 'anything' }
  const [, first = text, last = first] = /^(\d+)-(\d+)$/.exec(text) ?? []
  const [from, to] = [readPort(first), readPort(last)]
  if (from !== undefined && to !== undefined && from <= to) return { is: 'ports', from, to }
  throw refuse(`\`${text}\` is no port or range of ports`, 'Write e.g. `8080`, `8000-8999` or `*`')
}

export function matchesName({ matches }: HostPattern & { is: 'name' }, host: string): boolean {
  return canonicalIp(host) === undefined && matches(plainName(host))
}

export function matchesPort(pattern: PortPattern, port: number): boolean {
  return pattern.is === 'anything' || (port >= pattern.from && port <= pattern.to)
}

/** A name has no segments: one star stands for any text, dots included. */
export function wideGlob(pattern: string): (text: string) => boolean {
  return glob(pattern.replace(/\*+/g, '**'))
}

const plainName = (text: string) => text.toLowerCase().replace(/\.$/, '')
