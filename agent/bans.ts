import type { Ban } from '#gen/fleetcat/v1/agent.ts'
import { type Cidr, contains, parseCidr, sourceNetwork } from '#relay/ip.ts'
import type { SteadyClock } from './steady-clock.ts'

/**
 * Sources that are shut out. Those of the controller hold by its word alone: they do not end by a clock here, for a clock
 * may be wrong, and a host that hears no more of its controller soon runs nothing anyway. Those that this agent has found
 * itself hold until the controller's list has them too, and then as long as that says; or until their own time is over.
 */
export interface Bans {
  refuses(relayId: string, ip: string): boolean
  /** Throws a RelayError `usage` when it names no network. */
  add(ban: Ban): void
  /** All that hold, in place of those before. */
  replace(bans: readonly Ban[]): void
  /** Found here. */
  addOwn(ban: OwnBan): void
  /** Those of our own that the controller has not confirmed. */
  own(): readonly OwnBan[]
}

export interface OwnBan {
  readonly relayId: string
  /** The network of one source: see `sourceNetwork`. */
  readonly cidr: string
  /** By the steady clock. */
  readonly until: number
}

interface Rule {
  readonly network: Cidr
  readonly except: readonly Cidr[]
  /** Absent: every relay. */
  readonly relayIds: ReadonlySet<string> | undefined
}

export function openBans(clock: SteadyClock): Bans {
  let rules = new Map<string, Rule>()
  /** Of the networks of single sources there may be thousands, and each arrival is looked up. */
  let bySource = new Map<string, Rule[]>()
  let wider: Rule[] = []
  let mine: OwnBan[] = []

  function index(): void {
    bySource = new Map()
    wider = []
    for (const rule of rules.values()) {
      const { text, family, bits } = rule.network
      if (bits !== (family === 4 ? 32 : 64)) wider.push(rule)
      else bySource.set(text, [...(bySource.get(text) ?? []), rule])
    }
  }

  const isFor = ({ relayIds }: Rule, relayId: string) => !relayIds || relayIds.has(relayId)

  function isConfirmed({ relayId, cidr }: OwnBan): boolean {
    return bySource.get(cidr)?.some(rule => isFor(rule, relayId)) ?? false
  }

  function forget(over: (ban: OwnBan) => boolean): void {
    const now = clock()
    if (mine.some(ban => ban.until <= now || over(ban)))
      mine = mine.filter(ban => ban.until > now && !over(ban))
  }

  return {
    refuses(relayId, ip) {
      const isIn = (rule: Rule) =>
        isFor(rule, relayId) &&
        contains(rule.network, ip) &&
        !rule.except.some(network => contains(network, ip))
      if (wider.some(isIn)) return true
      if (bySource.size + mine.length === 0) return false
      const source = sourceNetwork(ip)
      if (source === undefined) return false
      if (bySource.get(source)?.some(isIn)) return true
      const now = clock()
      return mine.some(ban => ban.cidr === source && ban.relayId === relayId && ban.until > now)
    },
    add(ban) {
      rules.set(ban.revocationId, compile(ban))
      index()
      forget(isConfirmed)
    },
    replace(bans) {
      rules = new Map(bans.map(ban => [ban.revocationId, compile(ban)]))
      index()
      forget(isConfirmed)
    },
    addOwn(ban) {
      forget(({ relayId, cidr }) => relayId === ban.relayId && cidr === ban.cidr)
      mine.push(ban)
    },
    own() {
      forget(() => false)
      return mine
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
