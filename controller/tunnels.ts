import type { TunnelNews, TunnelRequest } from '#gen/fleetcat/v1/agent.ts'
import type { OpenTunnelRequest, OpenTunnelResponse } from '#gen/fleetcat/v1/operator.ts'
import { type Relay, TunnelGrant } from '#gen/fleetcat/v1/relay.ts'
import { type Address, parseAddress } from '#relay/address.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import type { Rendezvous } from '#tunnel/rendezvous.ts'
import { newTicket, ticketMs } from '#tunnel/ticket.ts'
import { toDuration } from '#wire/duration.ts'
import { failureOf } from '#wire/failure.ts'
import { tunnels as tunnelFeature } from '#wire/features.ts'
import { formatHostPort } from '#wire/host-port.ts'
import { defaultLeaseMs, leaseMs } from '#wire/lease.ts'
import { toProblem } from '#wire/problem.ts'
import { isUnspecified, parsePlace } from '#wire/tunnel.ts'
import type { Caller } from './access.ts'
import type { Ledger } from './audit/ledger.ts'
import { timeLeft } from './expiry.ts'
import type { Host, Hosts } from './hosts.ts'
import { newId } from './ids.ts'
import type { Mirror, MirrorChange } from './mirror.ts'
import type { Placement } from './placement.ts'

/** One tunnel that was granted, for as long as it may be there. */
export interface Tunnel {
  readonly id: string
  /** `agent/edge-1`, `operator/ann`. */
  readonly initiator: string
  /** The agent that answers. */
  readonly agent: string
  /** Empty if an operator has opened it. */
  readonly relayId: string
  /** As the initiator wrote it: `@db-1/TCP4:127.0.0.1:5432`. */
  readonly address: string
  readonly onward: readonly string[]
  /** The operator's tunnel for which an agent has opened this one, if it has. */
  readonly onwardOf: string
  readonly state: 'granted' | 'controller' | 'straight'
}

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

const mostInAll = 20_000
const mostOfOneEnd = 2_000
/** What the answering agent gets to cut a tunnel itself. */
const sayWhyMs = 50

type Held = { -readonly [K in keyof Tunnel]: Tunnel[K] } & {
  readonly ticket: string
  /** Resolves when it is over: with the reason if it was taken back. */
  readonly over: PromiseWithResolvers<string | undefined>
  /** The call that it lives under. Another may take it over. */
  holder: AbortSignal | undefined
}

export function openTunnels({ mirror, hosts, placement, ledger, rendezvous }: Parts): Tunnels {
  const live = new Map<string, Held>()
  /** How many each end has: `agent/db-1`. */
  const ends = new Map<string, number>()

  function count(end: string, by: 1 | -1): void {
    const now = (ends.get(end) ?? 0) + by
    if (now === 0) ends.delete(end)
    else ends.set(end, now)
  }

  function forget(tunnel: Held, reason?: string): boolean {
    if (!live.delete(tunnel.id)) return false
    tunnel.over.resolve(reason)
    count(tunnel.initiator, -1)
    count(`agent/${tunnel.agent}`, -1)
    return true
  }

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

  function checkRoom(what: string, ...who: string[]): void {
    const full = who.find(end => (ends.get(end) ?? 0) >= mostOfOneEnd)
    if (!full && live.size < mostInAll) return
    const why = full
      ? `${full} has ${mostOfOneEnd} tunnels already`
      : `there are ${mostInAll} tunnels already`
    throw new RelayError('exhausted', { what, why, fix: 'Try again when some have ended' })
  }

  const placeable = () =>
    [...mirror.agents.values()].filter(({ value }) => !value.revoked).map(({ value }) => value.name)

  function answeringHost(address: Address): Host {
    const { host: name = '', text: what } = address
    const known = mirror.agents.get(name)?.value
    const fix = '`fleetcat agents` shows how they fare'
    if (!known || known.revoked) {
      const why = known ? `agent/${name} was revoked` : `there is no agent called ${name}`
      const near = known ? undefined : nearest(name, placeable())
      throw new RelayError('not-found', { what, why, fix: near ? `Did you mean \`@${near}/\`?` : fix })
    }
    const host = hosts.get(name)
    if (!host?.session) {
      throw new RelayError('unavailable', {
        what,
        why: `agent/${name} is not connected to the controller`,
        fix,
      })
    }
    if (!host.hello?.features.includes(tunnelFeature)) {
      const why = `agent/${name} runs version ${host.hello?.version}, which answers no tunnels`
      throw new RelayError('unsupported', { what, why, fix: 'Update fleetcat on that host' })
    }
    return host
  }

  function mint(
    wish: Pick<Tunnel, 'initiator' | 'relayId' | 'address' | 'onward' | 'onwardOf'>,
    offer: { relayName: string; lease: number; purpose: string },
  ): { tunnel: Held; grant: TunnelGrant } {
    const address = parseAddress(wish.address)
    const host = answeringHost(address)
    checkRoom(wish.address, wish.initiator, `agent/${host.name}`)
    const ticket = newTicket()
    const tunnel: Held = {
      ...wish,
      id: newId('t'),
      agent: host.name,
      state: 'granted',
      ticket,
      over: Promise.withResolvers(),
      holder: undefined,
    }
    live.set(tunnel.id, tunnel)
    count(tunnel.initiator, 1)
    count(`agent/${tunnel.agent}`, 1)
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
      },
      () => live.get(tunnel.id) === tunnel,
    )
    const grant = { nonce: 0n, tunnelId: tunnel.id, ticket, agent: host.name, straight: straightTo(host) }
    return { tunnel, grant: TunnelGrant.fromPartial(grant) }
  }

  /** The relay that may have this tunnel opened by this agent, now. */
  function relayFor(host: Host, { relayId, address }: TunnelRequest): Relay {
    const relay = mirror.relaysById.get(relayId)
    if (!relay) throw new RelayError('not-found', { what: address, why: 'there is no such relay any more' })
    const denied = (why: string) => new RelayError('denied', { what: address, why })
    if (!placement.runsOn(relay, host.name))
      throw denied(`relay/${relay.name} does not run on agent/${host.name}`)
    if (!addressesOf(relay).includes(address)) throw denied(`relay/${relay.name} has no such address`)
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

  /** Only what the change may concern is looked at. */
  function look({ everything, relayIds, agents, operators, relabelled }: MirrorChange): void {
    if (!everything && relayIds.length + agents.length + operators.length + relabelled.length === 0) return
    for (const tunnel of [...live.values()]) {
      const { relayId, initiator, agent, address } = tunnel
      const relay = mirror.relaysById.get(relayId)
      const [kind = '', name = ''] = initiator.split('/')
      const people = kind === 'agent' ? mirror.agents : mirror.operators
      const gone = people.get(name)?.value.revoked ?? mirror.agents.get(agent)?.value.revoked
      const isIts = relay && placement.runsOn(relay, name) && addressesOf(relay).includes(address)
      if (gone) withdraw(tunnel, 'one of its ends was revoked')
      else if (relayId && !isIts) withdraw(tunnel, 'its relay has ended, or has it no more')
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
      const address = checked(request)
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
    heard(agent, { tunnelId, straight, ended }) {
      const tunnel = live.get(tunnelId)
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
          if (initiator === end || (place && target.startsWith(place))) found.add(name)
      }
      return [...found].filter(name => `agent/${name}` !== end)
    },
    [Symbol.dispose]: stop,
  }
}

/** The addresses of a relay that are on other hosts, as they are written there. */
export function addressesOf({ spec }: Relay): string[] {
  return [...(spec?.targets ?? []), ...(spec?.tee ?? [])].filter(address => address.startsWith('@'))
}

/** The agents that open addresses for others in this relay. */
export function answeringAgents(relay: Relay): string[] {
  const names = addressesOf(relay).map(address => address.slice(1, address.indexOf('/')).toLowerCase())
  return [...new Set(names)]
}

function checked({ address, purpose, onward }: OpenTunnelRequest): Address {
  const what = `tunnel to ${address}`
  for (const each of [address, ...onward]) {
    const { host } = bindTarget(each).address
    if (host !== undefined) continue
    throw new RelayError('usage', {
      what,
      why: `\`${each}\` names no agent`,
      fix: 'Write `@AGENT/ADDRESS`, e.g. `@db-1/TCP4:127.0.0.1:5432`',
    })
  }
  if (!/^[a-z]{1,20}$/.test(purpose))
    throw new RelayError('usage', { what, why: 'it does not say in a word what it is for' })
  return parseAddress(address)
}

/** An agent that listens on all its addresses is reached where its session comes from. */
function straightTo({ hello, peer }: Host): string[] {
  if (!hello?.tunnelListen) return []
  try {
    const place = parsePlace(hello.tunnelListen)
    if (!isUnspecified(place.host)) return [formatHostPort(place)]
    const host = peer.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
    return [formatHostPort({ host, port: place.port })]
  } catch {
    return []
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined)
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(undefined), { once: true }))
}
