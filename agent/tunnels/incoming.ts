import type { TLSSocket } from 'node:tls'
import type { TunnelNews, TunnelOffer } from '#gen/fleetcat/v1/agent.ts'
import type { TlsIdentity } from '#identity/tls.ts'
import type { TunnelWay } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { openAnswering } from '#tunnel/answer.ts'
import type { Place } from '#tunnel/dial.ts'
import { leaseMs } from '#wire/lease.ts'
import type { Ceiling } from '../ceiling.ts'
import type { Remarks } from '../remarks.ts'
import { type Cut, nothingCut } from '../revocations.ts'
import type { Roster } from '../roster.ts'
import { type Answered, openAnswered } from './answered.ts'
import type { Cause, Outgoing } from './outgoing.ts'

export interface IncomingContext {
  readonly agent: string
  readonly cluster: string
  readonly ceiling: Ceiling
  readonly roster: Pick<Roster, 'live' | 'opened' | 'closed'>
  readonly lease: { holds(leaseMs: number): boolean }
  readonly isRevoked: (relayId: string) => boolean
  /** What targets have to say. */
  readonly remarks: Pick<Remarks, 'heard'>
  /** The ways on from here for an operator's command. */
  readonly outgoing: (cause: Cause) => Outgoing
  identity(): TlsIdentity
  controller(): Place
  /** The leases that matter here are others now. */
  lengthsChanged(): void
  news(news: TunnelNews): void
  readonly log: Logger
}

/**
 * The tunnels that end on this host. What each may open the controller has said, and the ceiling of this host decides;
 * without a lease it opens nothing, and what is open ends.
 */
export interface Incoming extends AsyncDisposable {
  readonly counts: { readonly live: number; readonly dropped: ReadonlyMap<string, number> }
  /** Lets initiators come straight. Rejects with a RelayError when it cannot listen there. */
  listen(place: Place): Promise<Place>
  offered(offer: TunnelOffer): void
  /** What a controller has to hear that may not know: the tunnels that do not go through it. */
  present(): TunnelNews[]
  withdrawn(tunnelId: string, reason: string): void
  cutRelay(relayId: string, reason: RelayError): Promise<Cut>
  /** All whose other end it is: `operator/ann`. */
  cutPeer(peer: string, reason: RelayError): Promise<Cut>
  cutConnection(connectionId: string, reason: RelayError): Promise<Cut>
  cutEverything(reason: RelayError): Promise<Cut>
  /** The ceiling has changed. */
  recheck(): Promise<void>
  /** Those that have lost their lease are cut before it returns. */
  rightsChanged(): void
  leases(): Iterable<number>
}

export function openIncoming(cx: IncomingContext): Incoming {
  const { log, lease } = cx
  const offers = new Map<string, TunnelOffer>()
  const live = new Map<string, Answered>()
  const closing = new Set<Promise<unknown>>()
  const dropped = new Map<string, number>()
  const lapsed = () => new RelayError('lapsed', { what: 'the tunnel', why: 'this host has no lease' })

  const answering = openAnswering({
    identity: cx.identity,
    controller: cx.controller,
    answered,
    failed(ticket, why) {
      const offer = offers.get(ticket)
      offers.delete(ticket)
      cx.lengthsChanged()
      if (offer) cx.news(newsOf(offer, { straight: false, ended: true }))
      log.debug({ event: 'tunnel.unanswered', tunnel: offer?.tunnelId, why: why.message }, 'no tunnel came')
    },
    dropped(cause, from) {
      dropped.set(cause, (dropped.get(cause) ?? 0) + 1)
      log.debug({ event: 'tunnel.dropped', cause, from }, 'somebody who came for a tunnel was turned away')
    },
  })

  function answered(ticket: string, socket: TLSSocket, way: TunnelWay): void {
    const offer = offers.get(ticket)
    offers.delete(ticket)
    if (!offer || cx.isRevoked(offer.relayId)) return void socket.destroy()
    const { tunnelId, initiator, purpose, address } = offer
    const tunnel = openAnswered(offer, socket, way, cx)
    live.set(tunnelId, tunnel)
    const about = { tunnel: tunnelId, from: initiator, to: address, way, ...(purpose && { purpose }) }
    log.info({ event: 'tunnel.answered', ...about }, 'tunnel answered')
    if (way === 'straight') cx.news(newsOf(offer, { straight: true, ended: false }))
    void tunnel.over.then(why => {
      live.delete(tunnelId)
      cx.lengthsChanged()
      cx.news(newsOf(offer, { straight: way === 'straight', ended: true }))
      log.info({ event: 'tunnel.closed', ...about, why: why.message }, 'tunnel closed')
    })
  }

  function withdraw(fits: (offer: TunnelOffer) => boolean): void {
    for (const [ticket, offer] of offers) {
      if (!fits(offer)) continue
      offers.delete(ticket)
      answering.withdraw(ticket)
    }
    cx.lengthsChanged()
  }

  /** What is expected is marked first, so nothing of it can open while the rest is cut. */
  async function cut(fits: (offer: TunnelOffer) => boolean, reason: RelayError): Promise<Cut> {
    withdraw(fits)
    const cuts = await Promise.all(
      [...live.values()].filter(({ offer }) => fits(offer)).map(tunnel => tunnel.abort(reason)),
    )
    return { listenersClosed: 0, connectionsCut: cuts.reduce((sum, each) => sum + each.connectionsCut, 0) }
  }

  function keep(work: Promise<unknown>): void {
    closing.add(work)
    void work.finally(() => closing.delete(work))
  }

  return {
    counts: {
      get live() {
        return live.size
      },
      dropped,
    },
    listen: place => answering.listen(place),
    offered(offer) {
      const [, kind, name = ''] = /^(agent|operator)\/(.+)$/.exec(offer.initiator) ?? []
      if (cx.isRevoked(offer.relayId) || (kind !== 'agent' && kind !== 'operator')) return
      offers.set(offer.ticket, offer)
      cx.lengthsChanged()
      const peer = { cluster: cx.cluster, kind, name, keys: offer.initiatorKeys } as const
      answering.expect({ ticket: offer.ticket, peer })
    },
    present: () =>
      [...live.values()]
        .filter(({ way }) => way === 'straight')
        .map(({ offer }) => newsOf(offer, { straight: true, ended: false })),
    withdrawn(tunnelId, reason) {
      const why = new RelayError('revoked', { what: 'the tunnel', why: reason })
      keep(cut(offer => offer.tunnelId === tunnelId, why))
    },
    cutRelay: (relayId, reason) => cut(offer => offer.relayId === relayId, reason),
    cutPeer: (peer, reason) => cut(({ initiator }) => initiator === peer, reason),
    cutEverything: reason => cut(() => true, reason),
    async cutConnection(connectionId, reason) {
      for (const { relay } of live.values()) {
        if (await relay.cut(connectionId, reason)) return { listenersClosed: 0, connectionsCut: 1 }
      }
      return nothingCut
    },
    async recheck() {
      await Promise.all([...live.values()].map(tunnel => tunnel.recheck()))
    },
    rightsChanged() {
      for (const tunnel of live.values())
        if (!lease.holds(leaseMs(tunnel.offer))) keep(tunnel.abort(lapsed()))
    },
    *leases() {
      for (const { offer } of live.values()) yield leaseMs(offer)
      for (const offer of offers.values()) yield leaseMs(offer)
    },
    async [Symbol.asyncDispose]() {
      await cut(() => true, new RelayError('closed', { what: 'the tunnel', why: 'the agent stops' }))
      await answering[Symbol.asyncDispose]()
      await Promise.all(closing)
    },
  }
}

function newsOf(
  { tunnelId, initiator, relayId, address }: TunnelOffer,
  state: Pick<TunnelNews, 'straight' | 'ended'>,
): TunnelNews {
  return { tunnelId, initiator, relayId, address, ...state }
}
