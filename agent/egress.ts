import type { Address } from '#relay/address.ts'
import type { EgressPolicy, Endpoint } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import type { Connection, RelayPlan } from '#relay/relay.ts'

/** The ceiling as one relay asks it, with a memory of where it let the relay's connections go. */
export interface RelayEgress extends EgressPolicy {
  /** Why the ceiling as it is now would not let this connection go where it may have gone; undefined if it would. */
  refusal(connection: Connection): RelayError | undefined
  /** No connection is live: nothing need be remembered. */
  forget(): void
}

/**
 * A name that resolves to several addresses is judged by all that it was dialled at: in doubt a connection is cut.
 */
export function relayEgress(
  { targets, flow }: Pick<RelayPlan, 'targets' | 'flow'>,
  ceiling: EgressPolicy,
): RelayEgress {
  const tees = flow?.tee ?? []
  /** Of the targets that are known: where clients ask to go there may be as many places as they can think of. */
  const dialled = new Map<string, Set<string | undefined>>(
    [...targets, ...tees].flatMap(scopesOf).map(({ text }) => [text, new Set()]),
  )
  const isAsked = targets.some(({ goesWhereAsked }) => goesWhereAsked)

  /** What was asked of the ceiling on the way to where a connection is, and to where its copies are. */
  function* asked({ target, targetIp }: Connection): Generator<[scope: Address, ip: string | undefined]> {
    if (isAsked) {
      const { scope } = bindAddress(target)
      for (const keyword of [scope.keyword, 'ASKED']) yield [{ ...scope, keyword }, targetIp]
    }
    const known = isAsked ? [] : targets.filter(({ address }) => address.text === target)
    for (const scope of [...known, ...tees].flatMap(scopesOf)) {
      for (const ip of dialled.get(scope.text) ?? []) yield [scope, ip]
    }
  }

  return {
    check(address, ip) {
      ceiling.check(address, ip)
      dialled.get(address.text)?.add(ip)
    },
    checkForbidden: address => ceiling.checkForbidden?.(address),
    checkLed: (address, led) => ceiling.checkLed?.(address, led),
    checkBeyond: address => ceiling.checkBeyond?.(address),
    refusal(connection) {
      for (const [scope, ip] of asked(connection)) {
        const why = refusalOf(() => ceiling.check(scope, ip), connection.target)
        if (why) return why
      }
      return undefined
    },
    forget() {
      for (const ips of dialled.values()) ips.clear()
    },
  }
}

/** All that a target's dialer asks about with what a name has led to. */
function scopesOf({ scope, legs = [], halves }: Endpoint): Address[] {
  if (halves) return halves.flatMap(scopesOf)
  return [scope, ...legs.filter(({ resolved }) => resolved === 'here').map(leg => leg.scope)]
}

/** What `check` throws, if it does. */
export function refusalOf(check: () => void, what: string): RelayError | undefined {
  try {
    check()
    return undefined
  } catch (thrown) {
    return RelayError.from(thrown, what)
  }
}
