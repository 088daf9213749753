import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { parseAddress } from '#relay/address.ts'
import type { Channel, Dialer, Endpoint } from '#relay/endpoint.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { openRoute, type Route, type RouteOptions } from '#tunnel/route.ts'
import { parseHostPort } from '#wire/host-port.ts'
import { defaultLeaseMs } from '#wire/lease.ts'
import type { Fleet } from './client.ts'
import { usage } from './failure.ts'
import { openRights } from './tunnel-rights.ts'

export interface TunnelsOptions {
  /** What they are for, in a word, for the audit log and for those who look at the connections: `forward`. */
  readonly purpose: string
  /** Addresses on other agents that the answering agent may open in turn. */
  readonly onward?: readonly string[]
  readonly changed?: RouteOptions['changed']
  /** The controller has taken the right back, with the reason. */
  readonly withdrawn?: (why: RelayError) => void
}

/** Tunnels from this host to agents, under the identity of the operator who runs this command. */
export interface Tunnels extends AsyncDisposable {
  /** An address on another host, `@db-1/TCP4:127.0.0.1:5432`, as a target. Throws a RelayError `usage`. */
  target(address: string): Endpoint
  /** Opens such an address. Rejects with a RelayError. */
  open(address: string, signal: AbortSignal): Promise<Channel>
  /** Opens the tunnel, and nothing through it yet: what is wrong is known before somebody comes. */
  warm(address: string, signal: AbortSignal): Promise<void>
}

export function openTunnels(fleet: Fleet, options: TunnelsOptions): Tunnels {
  const { purpose, onward = [], changed, withdrawn } = options
  const routes = new Map<string, Route>()
  const live = new Set<string>()
  const rights = openRights(fleet, { purpose, onward, lost })

  /** A controller that is lost takes nothing back; the agent's lease does, and by then so do we. */
  function lost(address: string, tunnelId: string, why: RelayError): void {
    if (why.code === 'unavailable' || why.code === 'timed-out') {
      setTimeout(() => {
        if (live.has(tunnelId)) routes.get(address)?.cut(why)
      }, defaultLeaseMs).unref()
    } else if (why.code !== 'closed') {
      routes.get(address)?.cut(why)
      withdrawn?.(why)
    }
  }
  function routeTo(address: string): Route {
    const known = routes.get(address)
    if (known) return known
    const route = openRoute({
      what: address,
      ask: signal => rights.ask(address, signal),
      identity: () => rights.fleet.credentials.identity,
      controller() {
        const { address: place } = rights.fleet
        return parseHostPort(place, { what: place, fix: 'Write HOST:PORT' })
      },
      changed(change) {
        const { tunnelId, over } = change
        if (!over) live.add(tunnelId)
        else {
          live.delete(tunnelId)
          rights.release(tunnelId)
        }
        changed?.(change)
      },
    })
    routes.set(address, route)
    return route
  }

  const dialerOf = (address: string): Dialer => ({
    dial(cx) {
      const opening = {
        id: newId(),
        source: `${cx.client?.text ?? process.pid}@${hostname()}`,
        ...(cx.uses && { uses: cx.uses }),
      }
      return routeTo(address).open(opening, cx.signal)
    },
  })

  return {
    target(address) {
      const endpoint = bindTarget(address)
      const { host, text } = parseAddress(address)
      if (host !== undefined) return { ...endpoint, dialer: dialerOf(text) }
      const fix = 'Write `@AGENT/ADDRESS`, e.g. `@db-1/TCP4:127.0.0.1:5432`'
      throw usage(`address \`${address}\``, 'it names no agent', fix)
    },
    open: (address, signal) => routeTo(address).open({ id: newId(), source: hostname() }, signal),
    warm: (address, signal) => routeTo(address).warm(signal),
    async [Symbol.asyncDispose]() {
      for (const route of routes.values()) await route[Symbol.asyncDispose]()
      await rights[Symbol.asyncDispose]()
    },
  }
}

/** No other command, and no agent, has the same. */
const newId = () => `o-${randomBytes(8).toString('hex')}`
