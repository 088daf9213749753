import { randomUUID } from 'node:crypto'
import type { TunnelRequest } from '#gen/fleetcat/v1/agent.ts'
import type { TunnelGrant } from '#gen/fleetcat/v1/relay.ts'
import type { TlsIdentity } from '#identity/tls.ts'
import type { Dialer, Endpoint } from '#relay/endpoint.ts'
import { farLine } from '#relay/endpoints/far-line.ts'
import { lineAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import type { RelayPlan } from '#relay/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import type { Place } from '#tunnel/dial.ts'
import { openRoute, type Route } from '#tunnel/route.ts'
import { fromGrant } from '#wire/tunnel.ts'

export interface OutgoingContext {
  /** Rejects with a RelayError when no answer comes. */
  ask(request: Omit<TunnelRequest, 'nonce'>): Promise<TunnelGrant>
  identity(): TlsIdentity
  controller(): Place
  readonly log: Logger
}

/** The ways of one relay, or of one operator's command, to other hosts. They end with it. */
export interface Outgoing extends AsyncDisposable {
  /** The same address with a dialer, if it is one on another host. */
  reached(endpoint: Endpoint): Endpoint
  /** A relay with each of its addresses as `reached` makes them. */
  planned(plan: RelayPlan): RelayPlan
  /** Cuts all that goes to this agent, and answers how many connections that were. */
  cutAgent(agent: string, reason: RelayError): number
}

/** For whom the tunnels are. */
export interface Cause {
  readonly relayId: string
  /** The tunnel that an operator has opened to this host, if it is for that one. */
  readonly onwardOf: string
  /** For the log: `relay/web`. */
  readonly name: string
}

/** Nothing is opened before somebody dials. */
export function openOutgoing(
  cause: Cause,
  { ask, identity, controller, log }: OutgoingContext,
  over: () => void = () => {},
): Outgoing {
  const routes = new Map<string, Route>()
  const { relayId, onwardOf, name } = cause

  function routeTo(address: string): Route {
    const known = routes.get(address)
    if (known) return known
    const route = openRoute({
      what: address,
      ask: async () => fromGrant(await ask({ relayId, onwardOf, address }), address),
      identity,
      controller,
      changed({ tunnelId, way, over }) {
        const about = { tunnel: tunnelId, for: name, to: address, way }
        if (over) log.info({ event: 'tunnel.closed', ...about, why: over.message }, 'tunnel closed')
        else log.info({ event: 'tunnel.opened', ...about }, 'tunnel opened')
      },
    })
    routes.set(address, route)
    return route
  }

  /** `withLine`: how it is asked for when its line has to come with its bytes. */
  const dialerOf = ({ scope, address }: Endpoint, withLine: string | undefined): Dialer => ({
    async dial(cx) {
      cx.egress.check(scope)
      const opening = {
        id: cx.connectionId ?? `t-${randomUUID()}`,
        source: cx.client?.text ?? name,
        // A line is talked with both ways, whichever way its bytes go.
        ...(cx.uses && !withLine && { uses: cx.uses }),
      }
      try {
        const channel = await routeTo(withLine ?? address.text).open(opening, cx.signal)
        return withLine ? await farLine(channel, address, cx) : channel
      } catch (thrown) {
        throw RelayError.from(thrown, address.text).within(address.text)
      }
    },
  })

  function reached(endpoint: Endpoint, withLine?: string): Endpoint {
    if (endpoint.address.host === undefined) return endpoint
    return { ...endpoint, dialer: dialerOf(endpoint, withLine) }
  }

  return {
    reached: endpoint => reached(endpoint),
    planned({ targets, flow, ...plan }) {
      const { text: listen } = plan.listen.address
      const tee = flow?.tee?.map(endpoint => reached(endpoint))
      return {
        ...plan,
        targets: targets.map(target => reached(target, lineAddress(listen, target.address.text))),
        ...(flow && { flow: { ...flow, ...(tee && { tee }) } }),
      }
    },
    cutAgent(agent, reason) {
      let cut = 0
      for (const [address, route] of routes)
        if (address.toLowerCase().startsWith(`@${agent}/`)) cut += route.cut(reason)
      return cut
    },
    async [Symbol.asyncDispose]() {
      for (const route of routes.values()) await route[Symbol.asyncDispose]()
      over()
    },
  }
}
