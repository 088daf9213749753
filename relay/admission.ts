import type { AddressAdmission } from './endpoint.ts'
import { type Cidr, contains, parseCidr } from './ip.ts'

/** Why an arrival was turned away: a closed list, counted and logged by these names. */
export const refusalCauses = [
  'banned-source', // an order has shut it out, of this relay or of all
  'denied-source', // a deny list of the address or of the relay names it
  'range', // outside the address's `range` and `allow`
  'not-allowed-source', // outside the relay's own allow list
  'source-port', // from a port that the address does not serve
  'max-connections',
  'rate', // too many new connections a second, in all
  'source-rate', // too many from this source
  'descriptors', // this process has hardly any file descriptors left
  'queue-full', // more arrivals than the relay takes
  'displaced', // a UDP conversation that was silent longest gave way to a newer one
  'amplification', // a UDP reply much larger than what its peer had sent, and the peer has never answered
  'overflow', // a datagram came faster than it could be handed on
  'untrusted-proxy', // not one of the proxies that may say who their clients are
  'cut-peer', // a UDP peer whose conversation was cut goes on sending
  'disk-full', // a datagram that a file had no room for
  'tee-dropped', // a tee was too slow for a piece of what went to the target
  'dump-dropped', // the file of a dump was too slow for a piece, or could not be written
] as const

export type RefusalCause = (typeof refusalCauses)[number]

export interface AdmissionLimits {
  readonly maxConnections?: number
  /** New connections a second, in all. */
  readonly ratePerSecond?: number
  /** New connections a second from one source: an IPv4 address, or an IPv6 network of 64 bits. */
  readonly sourceRatePerSecond?: number
  /** CIDRs; if there are any, only sources inside. */
  readonly allowFrom?: readonly string[]
  readonly denyFrom?: readonly string[]
}

/** Who may connect to one relay. Sources without an IP pass deny lists, and no allow list. */
export interface Admission {
  /** Why an arrival is turned away when `live` connections exist already; undefined when it is welcome. */
  refusal(ip: string | undefined, live: number): RefusalCause | undefined
  /** The part that depends on `live` alone. */
  roomRefusal(live: number): RefusalCause | undefined
  /** The part that depends on the source alone. */
  sourceRefusal(ip: string | undefined): RefusalCause | undefined
  /**
   * From now on these limits. Returns those of `live` whose source is no longer allowed, to be cut; lower caps and
   * rates are for arrivals only. Throws a RelayError `usage` on a bad CIDR, and then nothing has changed.
   */
  update<T extends { readonly sourceIp?: string; readonly manySources?: true }>(
    limits: AdmissionLimits,
    live: Iterable<T>,
  ): T[]
}

export interface AdmissionSources {
  readonly isBanned?: (ip: string) => boolean
  readonly now?: () => number
}

/** `now` is in milliseconds and never goes back; what is banned may change at any time. */
export function openAdmission(
  address: AddressAdmission,
  limits: AdmissionLimits,
  { isBanned = () => false, now = () => performance.now() }: AdmissionSources = {},
): Admission {
  const welcome = [...(address.range ?? []), ...(address.allow ?? [])]
  let rules = compile(limits)

  const sourceRefusal = (ip: string | undefined): RefusalCause | undefined => {
    if (ip !== undefined && isBanned(ip)) return 'banned-source'
    if (ip !== undefined && (within(address.deny, ip) || within(rules.deny, ip))) return 'denied-source'
    if (welcome.length > 0 && !(ip !== undefined && within(welcome, ip))) return 'range'
    if (rules.allow.length > 0 && !(ip !== undefined && within(rules.allow, ip))) return 'not-allowed-source'
    return undefined
  }

  const roomRefusal = (live: number) => (live >= rules.maxConnections ? 'max-connections' : undefined)

  return {
    sourceRefusal,
    roomRefusal,
    refusal(ip, live) {
      const cause = sourceRefusal(ip) ?? roomRefusal(live)
      if (cause) return cause
      // The source's own rate first, so that one busy source does not use up what is there for all.
      if (ip !== undefined && rules.perSource && !rules.perSource.take(sourceKey(ip), now()))
        return 'source-rate'
      if (rules.inAll && !take(rules.inAll, now())) return 'rate'
      return undefined
    },
    update(next, live) {
      rules = compile(next)
      return [...live].filter(
        ({ sourceIp, manySources }) => !manySources && sourceRefusal(sourceIp) !== undefined,
      )
    },
  }

  function compile(next: AdmissionLimits) {
    const { maxConnections = Infinity, ratePerSecond, sourceRatePerSecond } = next
    return {
      maxConnections,
      allow: (next.allowFrom ?? []).map(parseCidr),
      deny: (next.denyFrom ?? []).map(parseCidr),
      inAll: ratePerSecond === undefined ? undefined : fullBucket(ratePerSecond, now()),
      perSource: sourceRatePerSecond === undefined ? undefined : sourceBuckets(sourceRatePerSecond),
    }
  }
}

function within(networks: readonly Cidr[] | undefined, ip: string): boolean {
  return networks?.some(network => contains(network, ip)) ?? false
}

/** A token bucket: a burst of one second's worth, then the rate. */
interface Bucket {
  readonly rate: number
  tokens: number
  at: number
}

function fullBucket(rate: number, now: number): Bucket {
  return { rate, tokens: Math.max(1, rate), at: now }
}

function take(bucket: Bucket, now: number): boolean {
  const { rate } = bucket
  bucket.tokens = Math.min(Math.max(1, rate), bucket.tokens + ((now - bucket.at) * rate) / 1_000)
  bucket.at = now
  if (bucket.tokens < 1) return false
  bucket.tokens -= 1
  return true
}

/** More sources than this at a time are not told apart for long: the one that was quiet longest is forgotten. */
const maxSources = 4_096

function sourceBuckets(rate: number) {
  const buckets = new Map<string, Bucket>()
  return {
    take(source: string, now: number): boolean {
      const bucket = buckets.get(source) ?? fullBucket(rate, now)
      // A Map keeps the order of insertion: the first key is always the one that was quiet longest.
      buckets.delete(source)
      buckets.set(source, bucket)
      if (buckets.size > maxSources) buckets.delete(buckets.keys().next().value!)
      return take(bucket, now)
    },
  }
}

/** One IPv6 customer has a whole /64 to pick addresses from. */
function sourceKey(ip: string): string {
  if (!ip.includes(':')) return ip
  const [head = '', tail] = ip.split('::')
  const groups = head ? head.split(':') : []
  if (tail !== undefined) {
    const rest = tail ? tail.split(':') : []
    while (groups.length + rest.length < 8) groups.push('0')
  }
  return groups.slice(0, 4).join(':')
}
