import type { TunnelNews, TunnelRequest } from '#gen/fleetcat/v1/agent.ts'
import type { OpenTunnelRequest, OpenTunnelResponse } from '#gen/fleetcat/v1/operator.ts'
import { type Relay, TunnelGrant } from '#gen/fleetcat/v1/relay.ts'
import { parseAddress } from '#relay/address.ts'
import { RelayError } from '#relay/errors.ts'
import type { Rendezvous } from '#tunnel/rendezvous.ts'
import { newTicket, ticketMs } from '#tunnel/ticket.ts'
import { toDuration } from '#wire/duration.ts'
import { failureOf } from '#wire/failure.ts'
import { defaultLeaseMs, leaseMs } from '#wire/lease.ts'
import { toProblem } from '#wire/problem.ts'
import type { Caller } from './access.ts'
import type { Ledger } from './audit/ledger.ts'
import { timeLeft } from './expiry.ts'
import type { Host, Hosts } from './hosts.ts'
import { newId } from './ids.ts'
import type { Mirror, MirrorChange } from './mirror.ts'
import type { Placement } from './placement.ts'
import { addressesOf, answeringAgents, canonical, checkedTunnel, straightTo } from './tunnel-addresses.ts'
import { openTunnelEnds } from './tunnel-ends.ts'
import { type Held, openRegister, type Tunnel, type Wish } from './tunnel-register.ts'

/**
 * Who may open which tunnel: a relay's agents to the addresses that the relay names, operators to those that they name
 * themselves. The right ends with the relay, with the operator's call, and with the agents at its ends.
 */
export interface Tunnels extends Disposable {
  /** What an agent asks for one of its relays, or for an operator's command that ends there. */
  grant(host: Host, request: TunnelRequest): TunnelGrant
  /** An operator's own. The grant comes first; it ends when the signal aborts. */
  open(request: OpenTunnelRequest, caller: Caller, signal: AbortSignal): AsyncGenerator<OpenTunnelResponse>
  /** What the answering agent says of one. Passed over if it is none of its own. */
  heard(agent: string, news: TunnelNews): void
  /** Does, or did, the agent answer tunnels of this relay? */
  answersFor(agent: string, relayId: string): boolean
  /** The agents that may have tunnels at whose other end this is, whichever has opened them: `operator/ann`. */
  facing(end: string): string[]
  readonly live: ReadonlyMap<string, Tunnel>
}

interface Parts {
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly placement: Placement
  readonly ledger: Ledger
  readonly rendezvous: Rendezvous
}

/** Of one relay between two agents, of which a controller is told; a tunnel carries a thousand conversations. */
const mostAdopted = 64
/** What the answering agent gets to cut a tunnel itself. */
const sayWhyMs = 50

export function openTunnels({ mirror, hosts, placement, ledger, rendezvous }: Parts): Tunnels {
  const register = openRegister()
  const { live, forget } = register
  const ends = openTunnelEnds(mirror, hosts)

  /** Cut here, and there: what goes straight only the answering agent can cut. */
  function withdraw(tunnel: Held, reason: string): void {
    if (!forget(tunnel, reason)) return
    const { session } = hosts.get(tunnel.agent) ?? {}
    session?.tunnelWithdrawal({ tunnelId: tunnel.id, reason })
    // An agent that is heard cuts it by itself, and can tell the other end why; whatever it does, here it ends.
    const cut = () => rendezvous.cut(tunnel.ticket)
    if (session && tunnel.state === 'controller') setTimeout(cut, sayWhyMs)
    else cut()
    for (const each of [...live.values()]) if (each.onwardOf === tunnel.id) withdraw(each, reason)
  }

  function mint(
    wish: Omit<Wish, 'agent'>,
    offer: { relayName: string; lease: number; purpose: string },
  ): { tunnel: Held; grant: TunnelGrant } {
    const address = parseAddress(wish.address)
    const host = ends.answering(address)
    register.checkRoom(wish.address, wish.initiator, `agent/${host.name}`)
    const ticket = newTicket()
    const tunnel = register.keep({ ...wish, agent: host.name }, { id: newId('t'), state: 'granted', ticket })
    rendezvous.expect(
      {
        ticket,
        joined() {
          tunnel.state = 'controller'
        },
        // One that goes straight is not seen here.
        over() {
          if (tunnel.state !== 'straight') forget(tunnel)
        },
      },
      ticketMs,
    )
    host.session?.tunnelOffer(
      {
        tunnelId: tunnel.id,
        ticket,
        initiator: tunnel.initiator,
        relayId: tunnel.relayId,
        relayName: offer.relayName,
        address: wish.address.slice(wish.address.indexOf('/') + 1),
        lease: toDuration(offer.lease),
        onward: [...wish.onward],
        purpose: offer.purpose,
        initiatorKeys: ends.keysOf(tunnel.initiator),
      },
      () => live.get(tunnel.id) === tunnel,
    )
    const grant = {
      tunnelId: tunnel.id,
      ticket,
      agent: host.name,
      straight: straightTo(host),
      keys: ends.keysOf(`agent/${host.name}`),
    }
    return { tunnel, grant: TunnelGrant.fromPartial(grant) }
  }

  /** The relay that may have this tunnel opened by this agent, now. */
  function relayFor(host: Host, { relayId, address }: TunnelRequest): Relay {
    const relay = mirror.relaysById.get(relayId)
    if (!relay) throw new RelayError('not-found', { what: address, why: 'there is no such relay any more' })
    const denied = (why: string) => new RelayError('denied', { what: address, why })
    if (!placement.runsOn(relay, host.name))
      throw denied(`relay/${relay.name} does not run on agent/${host.name}`)
    if (!addressesOf(relay).map(canonical).includes(canonical(address)))
      throw denied(`relay/${relay.name} has no such address`)
    if (timeLeft(relay) === 0)
      throw new RelayError('expired', { what: address, why: 'the time of the relay is over' })
    return relay
  }

  function grantFor(host: Host, request: TunnelRequest): TunnelGrant {
    const initiator = `agent/${host.name}`
    const { address, relayId, onwardOf } = request
    if (onwardOf) {
      const first = live.get(onwardOf)
      if (first?.agent !== host.name || !first.onward.includes(address)) {
        const why = 'no operator has a tunnel to this agent that goes on to there'
        throw new RelayError('denied', { what: address, why })
      }
      const wish = { initiator, relayId: '', address, onward: [], onwardOf }
      return mint(wish, { relayName: '', lease: defaultLeaseMs, purpose: 'onward' }).grant
    }
    const relay = relayFor(host, request)
    const wish = { initiator, relayId, address, onward: [], onwardOf: '' }
    return mint(wish, { relayName: relay.name, lease: leaseMs({ lease: relay.spec?.lease }), purpose: '' })
      .grant
  }

  /** For as long as the call lasts, unless another takes the tunnel over. */
  async function* held(
    tunnel: Held,
    grant: TunnelGrant,
    signal: AbortSignal,
  ): AsyncGenerator<OpenTunnelResponse> {
    tunnel.holder = signal
    try {
      yield { grant }
      const why = await Promise.race([aborted(signal), tunnel.over.promise])
      if (why && !signal.aborted) throw new RelayError('revoked', { what: tunnel.address, why })
    } finally {
      if (tunnel.holder === signal) withdraw(tunnel, 'the operator has ended it, or may not have it any more')
    }
  }

  function takenOver(
    { tunnelId, address }: OpenTunnelRequest,
    initiator: string,
    signal: AbortSignal,
  ): AsyncGenerator<OpenTunnelResponse> {
    const tunnel = live.get(tunnelId)
    if (tunnel?.initiator !== initiator || tunnel.address !== address)
      throw new RelayError('not-found', { what: `tunnel to ${address}`, why: 'it has ended' })
    return held(tunnel, TunnelGrant.fromPartial({ tunnelId, agent: tunnel.agent }), signal)
  }

  /**
   * A tunnel that goes straight, of which this controller does not know: it has started since, or the agent was not heard
   * when the tunnel was taken back. It stays if a relay still has it.
   */
  function adopted(agent: string, { tunnelId, initiator, relayId, address }: TunnelNews): Held | undefined {
    const wish: Wish = {
      ...{ initiator, agent, relayId, address: `@${agent}/${address}` },
      ...{ onward: [], onwardOf: '' },
    }
    const why =
      relayId === ''
        ? 'the call that it belonged to has ended'
        : (whyGone(wish) ?? register.whyFull(initiator, `agent/${agent}`) ?? whyTooMany(wish))
    if (why) {
      hosts.get(agent)?.session?.tunnelWithdrawal({ tunnelId, reason: why })
      return undefined
    }
    return register.keep(wish, { id: tunnelId, state: 'straight', ticket: '' })
  }

  /** Who answers must not use up the room of the other end by what it says. */
  function whyTooMany({ initiator, agent, relayId }: Wish): string | undefined {
    const isSuch = (each: Wish) =>
      each.relayId === relayId && each.agent === agent && each.initiator === initiator
    const count = [...live.values()].filter(isSuch).length
    return count < mostAdopted ? undefined : `its relay has ${count} tunnels between these two already`
  }

  /** Why a tunnel has no right to be any more, if it has none. */
  function whyGone({ relayId, initiator, agent, address }: Wish): string | undefined {
    const revoked = ends.whyRevoked(initiator) ?? ends.whyRevoked(`agent/${agent}`)
    if (revoked !== undefined) return revoked
    if (relayId === '') return undefined
    const relay = mirror.relaysById.get(relayId)
    const isIts =
      relay &&
      placement.runsOn(relay, initiator.slice('agent/'.length)) &&
      addressesOf(relay).map(canonical).includes(canonical(address))
    return isIts ? undefined : 'its relay has ended, or has it no more'
  }

  /** Only what the change may concern is looked at. */
  function look({ everything, relayIds, agents, operators, relabelled }: MirrorChange): void {
    if (!everything && relayIds.length + agents.length + operators.length + relabelled.length === 0) return
    for (const tunnel of [...live.values()]) {
      const why = whyGone(tunnel)
      if (why) withdraw(tunnel, why)
    }
  }

  const stop = mirror.onChange(look)

  return {
    live,
    grant(host, request) {
      try {
        return { ...grantFor(host, request), nonce: request.nonce }
      } catch (thrown) {
        const problem = toProblem(failureOf(thrown, request.address))
        return TunnelGrant.fromPartial({ nonce: request.nonce, problem })
      }
    },
    async *open(request, caller, signal) {
      const { purpose, onward } = request
      const address = checkedTunnel(request)
      const initiator = `operator/${caller.name}`
      if (request.tunnelId) return yield* takenOver(request, initiator, signal)
      const target = `agent/${address.host}`
      const fields = { address: request.address, purpose, ...(onward.length > 0 && { onward }) }
      const note = { by: caller, target, fields }
      // Nobody gets in without its being on record.
      await ledger.write({ ...note, event: 'tunnel.opened', words: 'an operator opens a tunnel' })
      if (signal.aborted) return
      const wish = { initiator, relayId: '', address: request.address, onward, onwardOf: '' }
      const { tunnel, grant } = mint(wish, { relayName: '', lease: defaultLeaseMs, purpose })
      const began = performance.now()
      void tunnel.over.promise.then(() => {
        const ms = Math.round(performance.now() - began)
        const about = { ...fields, tunnel: tunnel.id, way: tunnel.state, ms }
        ledger.keep({
          ...note,
          fields: about,
          event: 'tunnel.closed',
          words: 'the tunnel of an operator ends',
        })
      })
      yield* held(tunnel, grant, signal)
    },
    heard(agent, news) {
      const { tunnelId, straight, ended } = news
      const tunnel = live.get(tunnelId) ?? (ended ? undefined : adopted(agent, news))
      if (tunnel?.agent !== agent) return
      if (straight) tunnel.state = 'straight'
      if (ended) forget(tunnel)
      if (straight || ended) rendezvous.cut(tunnel.ticket)
    },
    answersFor(agent, relayId) {
      const relay = mirror.relaysById.get(relayId)
      if (relay && answeringAgents(relay).includes(agent)) return true
      return [...live.values()].some(tunnel => tunnel.agent === agent && tunnel.relayId === relayId)
    },
    facing(end) {
      const place = end.startsWith('agent/') ? `@${end.slice('agent/'.length)}/` : undefined
      const found = new Set<string>()
      for (const { initiator, agent } of live.values()) {
        if (initiator === end) found.add(agent)
        if (`agent/${agent}` === end && initiator.startsWith('agent/'))
          found.add(initiator.slice('agent/'.length))
      }
      // Those of which only the agents know, since this controller has started.
      for (const { name, connections } of hosts.all()) {
        for (const { initiator, target } of connections.values())
          if (initiator === end || (place && target.toLowerCase().startsWith(place))) found.add(name)
      }
      return [...found].filter(name => `agent/${name}` !== end)
    },
    [Symbol.dispose]: stop,
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined)
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
}
