import { parseTarget } from '#relay/address.ts'
import type { Endpoint } from '#relay/endpoint.ts'
import { bindAddress, bindHalves, layered } from '#relay/endpoints/index.ts'
import { through } from '#relay/layers/through.ts'
import { acceptOnce } from '#relay/once.ts'
import type { RelayPlan } from '#relay/relay.ts'
import { type SharedDialer, shareDialer } from '#relay/shared.ts'
import { usage } from '../failure.ts'
import { withVersion } from './ip-version.ts'
import { withoutNofork } from './nofork.ts'
import type { SocatSettings } from './settings.ts'
import { withoutUnsupported } from './sloppy.ts'

export interface SocatPlan {
  readonly plan: RelayPlan
  /**
   * The relay's target is the first address, which all share who come to the second. Whoever runs the plan opens it first,
   * and disposes it.
   */
  readonly shared?: SharedDialer
  /** By `cool-write`, a peer that has gone while it was written to is no failure. */
  readonly isCool: boolean
  /** It goes on after a connection. */
  readonly forks: boolean
}

export interface PlanEvents {
  readonly listening: (local: string) => void
  readonly dropped: (reason: string) => void
}

/** What the two addresses and the options ask for, in the engine's words. Throws a RelayError. */
export function toPlan(
  addresses: readonly [string, string],
  settings: SocatSettings,
  { listening, dropped }: PlanEvents,
): SocatPlan {
  const [first, second] = addresses
    .map(text => {
      return bindHalves(parseTarget(text), half => {
        const forked = withoutNofork(half, dropped)
        const address = withVersion(forked, settings.ipVersion ?? settings.listenVersion)
        return bindAddress(settings.sloppy ? withoutUnsupported(address, dropped) : address)
      })
    })
    .map(endpoint => inPieces(endpoint, settings.bufferBytes)) as [Endpoint, Endpoint]
  const turned = isForking(second)
  if (turned && first.acceptor) {
    throw usage(
      'two addresses that wait for connections',
      'only the first may have `fork`',
      'Leave out `fork` at the second',
    )
  }
  const { direction } = settings
  const shared = turned && first.dialer ? shareDialer(first.dialer) : undefined
  const target = shared ? { ...first, dialer: shared } : awaited(second, listening)
  return {
    ...(shared && { shared }),
    isCool: [first, second].some(isCool),
    forks: turned || isForking(first),
    plan: {
      id: 'socat',
      name: 'socat',
      listen: turned ? second : first,
      targets: [target],
      limits: { idleTimeoutMs: settings.idleMs || Infinity, halfCloseMs: settings.halfCloseMs },
      ...(direction && { flow: { unidirectional: turned ? opposite[direction] : direction } }),
      giveUp: true,
    },
  }
}

/** `-b`: what comes of a stream is carried in pieces of this size; a datagram stays one. */
function inPieces(endpoint: Endpoint, mostRead: number | undefined): Endpoint {
  return mostRead === undefined ? endpoint : layered(endpoint, channel => through(channel, { mostRead }))
}

/** What waits for somebody as what is dialled. */
function awaited(endpoint: Endpoint, listening: (local: string) => void): Endpoint {
  const { dialer, acceptor } = endpoint
  return dialer || !acceptor ? endpoint : { ...endpoint, dialer: acceptOnce(acceptor, listening) }
}

const opposite = { forward: 'backward', backward: 'forward' } as const

function isForking({ acceptor, address }: Endpoint): boolean {
  return acceptor !== undefined && isSet(address, ['fork'])
}

function isCool({ address, halves }: Endpoint): boolean {
  return isSet(address, ['cool-write', 'coolwrite']) || (halves?.some(isCool) ?? false)
}

function isSet({ options }: Endpoint['address'], names: readonly string[]): boolean {
  return options.some(({ name, value }) => names.includes(name) && value !== '0')
}
