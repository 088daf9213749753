import type { OpenTunnelRequest } from '#gen/fleetcat/v1/operator.ts'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import { type Address, parseAddress } from '#relay/address.ts'
import { bindTarget, lineAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { formatHostPort } from '#wire/host-port.ts'
import { isUnspecified, parsePlace } from '#wire/tunnel.ts'
import type { Host } from './hosts.ts'

/** The addresses of a relay that are on other hosts, as its agents ask for them. */
export function addressesOf({ spec }: Relay): string[] {
  if (!spec) return []
  const { listen, targets, tee } = spec
  const isElsewhere = (address: string) => address.startsWith('@')
  const reached = targets.filter(isElsewhere).map(target => asked(listen, target))
  return [...reached, ...tee.filter(isElsewhere)]
}

/** A relay may be older than the words that addresses have today. */
function asked(listen: string, target: string): string {
  try {
    return lineAddress(listen, target) ?? target
  } catch {
    return target
  }
}

/** Agents are called in lower case, however an address spells them. */
export const canonical = (address: string) => address.replace(/^@[^/]*/, host => host.toLowerCase())

/** The agents that open addresses for others in this relay. */
export function answeringAgents(relay: Relay): string[] {
  const names = addressesOf(relay).map(address => address.slice(1, address.indexOf('/')).toLowerCase())
  return [...new Set(names)]
}

/** Throws a RelayError `usage` for a tunnel that makes no sense. */
export function checkedTunnel({ address, purpose, onward }: OpenTunnelRequest): Address {
  const what = `tunnel to ${address}`
  for (const each of [address, ...onward]) {
    const { host } = bindTarget(each).address
    if (host !== undefined) continue
    throw new RelayError('usage', {
      what,
      why: `\`${each}\` names no agent`,
      fix: 'Write `@AGENT/ADDRESS`, e.g. `@db-1/TCP4:127.0.0.1:5432`',
    })
  }
  if (!/^[a-z]{1,20}$/.test(purpose))
    throw new RelayError('usage', { what, why: 'it does not say in a word what it is for' })
  return parseAddress(address)
}

/** An agent that listens on all its addresses is reached where its session comes from. */
export function straightTo({ hello, peer }: Host): string[] {
  if (!hello?.tunnelListen) return []
  try {
    const place = parsePlace(hello.tunnelListen)
    if (!isUnspecified(place.host)) return [formatHostPort(place)]
    const host = peer.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
    return [formatHostPort({ host, port: place.port })]
  } catch {
    return []
  }
}
