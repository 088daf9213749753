import { lookup } from 'node:dns/promises'
import { type Address, formatAddress } from '#relay/address.ts'
import type { Lookup } from '#relay/endpoint.ts'
import { kindOf } from '#relay/endpoints/index.ts'
import { hasOption } from '#relay/options.ts'

/** Listens on this IP version where the address does not say which. */
export function withVersion(address: Address, version: 4 | 6 | undefined): Address {
  const kind = kindOf(address.keyword)
  if (!version || !kind || kind.role !== 'listen' || !hasOption(kind.groups, 'pf')) return address
  const says = address.options.some(({ name }) => ['pf', 'protocol-family', 'bind'].includes(name))
  if (says || /[46]/.test(kind.keyword)) return address
  const options = [...address.options, { name: 'pf', value: `ip${version}`, at: 0 }]
  const chosen = { ...address, options }
  return { ...chosen, text: formatAddress(chosen) }
}

/** All addresses of a name, those of this version first. */
export function preferring(version: 4 | 6): Lookup {
  const order = version === 4 ? 'ipv4first' : 'ipv6first'
  return name => lookup(name, { all: true, order })
}
