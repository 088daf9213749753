import type { Destination } from '../endpoint.ts'
import {
  type HostPattern,
  matchesName,
  matchesPort,
  type PortPattern,
  type Refuse,
  readHostPattern,
  readPortPattern,
} from '../host-pattern.ts'
import { contains, embeddedIpv4 } from '../ip.ts'

/** `*.example.com:443`, `10.0.0.0/8:*`. */
export interface DestinationPattern {
  readonly text: string
  readonly host: HostPattern
  readonly port: PortPattern
}

export function readDestinationPattern(text: string, refuse: Refuse): DestinationPattern {
  const [, host, port] = /^(.+):([^:\]]+)$/.exec(text) ?? []
  if (host === undefined || port === undefined) {
    throw refuse(`\`${text}\` is no host and port`, 'Write e.g. `*.example.com:443` or `10.0.0.0/8:*`')
  }
  return { text, host: readHostPattern(host, refuse), port: readPortPattern(port, refuse) }
}

/** `ip` is what the host has been found at. A denial covers the address too that a translator would make of it. */
export function covers(
  { host: pattern, port: ports }: DestinationPattern,
  { host, port }: Destination,
  ip: string,
  sense: 'allow' | 'deny',
): boolean {
  if (!matchesPort(ports, port)) return false
  if (pattern.is === 'name') return matchesName(pattern, host)
  if (pattern.is === 'anything') return true
  const carried = sense === 'deny' ? embeddedIpv4(ip) : undefined
  return contains(pattern.cidr, ip) || (carried !== undefined && contains(pattern.cidr, carried))
}
