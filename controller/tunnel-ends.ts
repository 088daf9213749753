import type { Address } from '#relay/address.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { tunnels as tunnelFeature } from '#wire/features.ts'
import type { Host, Hosts } from './hosts.ts'
import type { Mirror } from './mirror.ts'

/** Who may be at the ends of tunnels. */
export interface TunnelEnds {
  /** The host that an address names. Throws a RelayError that says why it can answer no tunnel now. */
  answering(address: Address): Host
  /** The fingerprints of the keys that an end may show: `operator/ann`. */
  keysOf(end: string): string[]
  /** Why an end may have no tunnels any more, if it was revoked: in the words of whoever did it. */
  whyRevoked(end: string): string | undefined
}

export function openTunnelEnds(mirror: Mirror, hosts: Hosts): TunnelEnds {
  const recordOf = (end: string) => {
    const [kind, name = ''] = end.split('/')
    return (kind === 'agent' ? mirror.agents : mirror.operators).get(name)?.value
  }
  const placeable = () =>
    [...mirror.agents.values()].filter(({ value }) => !value.revoked).map(({ value }) => value.name)

  return {
    answering({ host: name = '', text: what }) {
      const known = mirror.agents.get(name)?.value
      const fix = '`fleetcat agents` shows how they fare'
      if (!known || known.revoked) {
        const why = known ? `agent/${name} was revoked` : `there is no agent called ${name}`
        const near = known ? undefined : nearest(name, placeable())
        throw new RelayError('not-found', { what, why, fix: near ? `Did you mean \`@${near}/\`?` : fix })
      }
      const host = hosts.get(name)
      if (!host?.session) {
        const why = `agent/${name} is not connected to the controller`
        throw new RelayError('unavailable', { what, why, fix })
      }
      if (!host.hello?.features.includes(tunnelFeature)) {
        const why = `agent/${name} runs version ${host.hello?.version}, which answers no tunnels`
        throw new RelayError('unsupported', { what, why, fix: 'Update fleetcat on that host' })
      }
      return host
    },
    keysOf(end) {
      // A certificate that somebody else has had under the same name may not have expired yet.
      const isGood = ({ hash }: { hash: string }) => !mirror.deadKeys.has(hash)
      return (
        recordOf(end)
          ?.keys.filter(isGood)
          .map(({ hash }) => hash) ?? []
      )
    },
    whyRevoked(end) {
      const { revoked } = recordOf(end) ?? {}
      return revoked && `${end} was revoked${revoked.reason === '' ? '' : `: ${revoked.reason}`}`
    },
  }
}
