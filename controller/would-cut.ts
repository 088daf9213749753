import type { Connection, Revocation } from '#gen/fleetcat/v1/relay.ts'
import { contains, parseCidr } from '#relay/ip.ts'
import type { Host } from './hosts.ts'
import { sourceIp } from './source-ip.ts'
import { parseTarget, type TargetKind } from './target.ts'

type Concerns = (connection: Connection, agent: string) => boolean

/** How many live connections an order would cut now, as far as the agents that are there have told. */
export function wouldCut(hosts: Iterable<Host>, revocation: Revocation): number {
  const { kind } = parseTarget(revocation.target)
  const concerns = concernsBy[kind](revocation)
  let n = 0
  for (const host of hosts) {
    if (!host.session) continue
    for (const connection of host.connections.values()) if (concerns(connection, host.name)) n++
  }
  return n
}

const concernsBy: Record<TargetKind, (revocation: Revocation) => Concerns> = {
  relay:
    ({ targetId }) =>
    ({ relayId }) =>
      relayId === targetId,
  conn:
    ({ targetId }) =>
    ({ id }) =>
      id === targetId,
  source({ targetId, relayIds, except }) {
    const network = parseCidr(targetId)
    const welcome = except.map(parseCidr)
    return ({ relayId, source }) => {
      const ip = sourceIp(source)
      if (relayIds.length > 0 && !relayIds.includes(relayId)) return false
      return contains(network, ip) && !welcome.some(part => contains(part, ip))
    }
  },
  agent:
    ({ targetId }) =>
    ({ initiator, target }, agent) =>
      agent === targetId || initiator === `agent/${targetId}` || target.startsWith(`@${targetId}/`),
  operator:
    ({ targetId }) =>
    ({ initiator }) =>
      initiator === `operator/${targetId}`,
}
