import type { TLSSocket } from 'node:tls'
import type { TunnelOffer } from '#gen/fleetcat/v1/agent.ts'
import { parseAddress } from '#relay/address.ts'
import type { Acceptor, Channel, Dialer, Endpoint, OpenContext, TunnelWay } from '#relay/endpoint.ts'
import { type Arrivals, openArrivals } from '#relay/endpoints/arrivals.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openRelay, type RelayPlan, type RunningRelay } from '#relay/relay.ts'
import { openLink } from '#tunnel/link.ts'
import { leaseMs } from '#wire/lease.ts'
import { connectionIds } from '../connection-ids.ts'
import { type RelayEgress, refusalOf, relayEgress } from '../egress.ts'
import { programsOf } from '../programs.ts'
import type { Cut } from '../revocations.ts'
import { storyOf } from '../story.ts'
import { type Attendance, openAttendance } from './attendance.ts'
import type { IncomingContext } from './incoming.ts'
import type { Outgoing } from './outgoing.ts'

/** One tunnel that this host answers: a relay whose clients come out of it. */
export interface Answered {
  readonly offer: TunnelOffer
  readonly way: TunnelWay
  readonly relay: RunningRelay
  /** Resolves when tunnel and connections are gone, with the reason. */
  readonly over: Promise<RelayError>
  abort(reason: RelayError): Promise<Cut>
  /** The ceiling has changed: cuts what it no longer permits. */
  recheck(): Promise<void>
}

/** Takes over a connection whose far side has shown that it is the one that was named. */
export function openAnswered(
  offer: TunnelOffer,
  socket: TLSSocket,
  way: TunnelWay,
  cx: IncomingContext,
): Answered {
  const { initiator, relayId, address, purpose } = offer
  let arrivals: Arrivals | undefined
  /** Come before the relay listens. */
  let early: Channel[] = []
  const link = openLink(socket, {
    peer: initiator,
    answer(channel) {
      if (arrivals) arrivals.offer(channel)
      else early.push(channel)
    },
  })
  const acceptor: Acceptor = {
    async listen(context) {
      const local = `tunnel of ${initiator}`
      arrivals = openArrivals(context, { local, fork: true, queue: Infinity, close: () => {} })
      for (const channel of early) arrivals.offer(channel)
      early = []
      return arrivals
    },
  }
  const outgoing = cx.outgoing({ relayId: '', onwardOf: offer.tunnelId, name: initiator })
  const { target, attendance } = targetOf(offer, cx, onwardOf(offer, outgoing))
  const plan: RelayPlan = {
    id: relayId,
    name: offer.relayName || initiator,
    listen: { address: tunnelAddress, scope: tunnelAddress, acceptor },
    targets: [target],
    limits: {},
  }
  const egress: RelayEgress = relayEgress(plan, cx.ceiling)
  const story = storyOf(cx.log, plan)
  const nextId = connectionIds()
  const silence = `this host has had no word from the controller for the ${leaseMs(offer) / 1_000} s of its lease`
  const relay: RunningRelay = openRelay(plan, {
    egress,
    programs: programsOf(cx.log, plan),
    // By this id the initiator lists it too; one that is taken here would hide another.
    newConnectionId({ awaited }) {
      const theirs = awaited?.connectionId
      return theirs !== undefined && !cx.roster.live.has(theirs) ? theirs : nextId()
    },
    barrier() {
      return cx.lease.holds(leaseMs(offer))
        ? undefined
        : new RelayError('lapsed', { what: `the tunnel of ${initiator}`, why: silence })
    },
    observer: {
      ...story,
      state() {},
      remarked: remark => cx.remarks.heard(plan, remark),
      opened(connection) {
        cx.roster.opened(connection, { initiator, way, purpose })
        story.opened(connection)
      },
      closed(connection, ending) {
        cx.roster.closed(connection, ending)
        story.closed(connection, ending)
        if (relay.connections.size === 0) egress.forget()
      },
    },
  })

  const over = link.over.then(async reason => {
    await relay.abort(reason)
    await relay[Symbol.asyncDispose]()
    await attendance[Symbol.asyncDispose]()
    await outgoing[Symbol.asyncDispose]()
    await link[Symbol.asyncDispose]()
    return reason
  })

  return {
    offer,
    way,
    relay,
    over,
    async abort(reason) {
      const cut = await relay.abort(reason)
      link.abort(reason)
      await over
      return cut
    },
    async recheck() {
      const forbidden = refusalOf(() => cx.ceiling.checkTarget(target), address)
      const cuts = [...relay.connections.values()].map(async connection => {
        const refusal = egress.refusal(connection) ?? forbidden
        if (refusal) await relay.cut(connection.id, refusal)
      })
      await Promise.all([...cuts, forbidden && attendance.stop()])
    },
  }
}

const tunnelAddress = { ...parseAddress('TUNNEL'), text: 'TUNNEL' }

/** Asked of the ceiling each time: it may have changed since the tunnel began. */
function targetOf(
  { address }: TunnelOffer,
  { ceiling }: IncomingContext,
  onward: OpenContext['onward'],
): { readonly target: Endpoint; readonly attendance: Attendance } {
  let endpoint: Endpoint
  try {
    endpoint = bindTarget(address)
  } catch (thrown) {
    const error = RelayError.from(thrown, address)
    const dialer: Dialer = { dial: () => Promise.reject(error) }
    const target = { address: { ...tunnelAddress, text: address }, scope: tunnelAddress, dialer }
    return { target, attendance: openAttendance(target) }
  }
  const { dialer } = endpoint
  const attendance = openAttendance(endpoint)
  const target: Endpoint = {
    ...unattended(endpoint),
    dialer: {
      async dial(context) {
        ceiling.checkTarget(endpoint)
        if (!dialer) throw new RelayError('unsupported', { what: address, why: 'it cannot be opened here' })
        await attendance.begin(context)
        return dialer.dial({ ...context, ...(onward && { onward }) })
      },
    },
  }
  return { target, attendance }
}

function unattended({ attend: _, halves, ...others }: Endpoint): Endpoint {
  return { ...others, ...(halves && { halves: [unattended(halves[0]), unattended(halves[1])] }) }
}

/** The ways on from here that the operator has asked for, if any. The controller holds us to the same. */
function onwardOf({ onward }: TunnelOffer, outgoing: Outgoing): OpenContext['onward'] {
  if (onward.length === 0) return undefined
  return address => {
    const { dialer } = outgoing.reached(bindTarget(address))
    if (dialer && onward.includes(address)) return dialer
    throw new RelayError('denied', {
      what: address,
      why: 'no operator has a tunnel here that goes on to there',
    })
  }
}
