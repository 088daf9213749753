import type { Ban } from '#gen/fleetcat/v1/agent.ts'
import { type Cidr, contains, parseCidr } from '#relay/ip.ts'

/**
 * Sources that are shut out, by the controller's word alone: they do not end by a clock here, for a clock may be wrong,
 * and a host that hears no more of its controller soon runs nothing anyway.
 */
export interface Bans {
  refuses(relayId: string, ip: string): boolean
  /** Throws a RelayError `usage` when it names no network. */
  add(ban: Ban): void
  /** All that hold, in place of those before. */
  replace(bans: readonly Ban[]): void
}

interface Rule {
  readonly network: Cidr
  readonly except: readonly Cidr[]
  /** Absent: every relay. */
  readonly relayIds: ReadonlySet<string> | undefined
}

export function openBans(): Bans {
  let rules = new Map<string, Rule>()
  return {
    refuses(relayId, ip) {
      for (const { network, except, relayIds } of rules.values()) {
        if (relayIds && !relayIds.has(relayId)) continue
        if (contains(network, ip) && !except.some(each => contains(each, ip))) return true
      }
      return false
    },
    add(ban) {
      rules.set(ban.revocationId, compile(ban))
    },
    replace(bans) {
      rules = new Map(bans.map(ban => [ban.revocationId, compile(ban)]))
    },
  }
}

function compile({ cidr, except, relayIds }: Ban): Rule {
  return {
    network: parseCidr(cidr),
    except: except.map(parseCidr),
    relayIds: relayIds.length > 0 ? new Set(relayIds) : undefined,
  }
}
