import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { parseAddress } from '#relay/address.ts'
import type { Channel, Dialer, Endpoint } from '#relay/endpoint.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import type { Grant } from '#tunnel/dial.ts'
import { openRoute, type Route, type RouteOptions } from '#tunnel/route.ts'
import { messages } from '#wire/call.ts'
import { parseHostPort } from '#wire/host-port.ts'
import { defaultLeaseMs } from '#wire/lease.ts'
import { fromGrant } from '#wire/tunnel.ts'
import type { Fleet } from './client.ts'
import { usage } from './failure.ts'

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

const grantWithinMs = 10_000
const lastWordMs = 500

export function openTunnels(fleet: Fleet, options: TunnelsOptions): Tunnels {
  const { purpose, onward = [], changed, withdrawn } = options
  const routes = new Map<string, Route>()
  const calls = new Map<string, Disposable>()

  /** The right lasts as long as this call does, so it is kept open for as long as the tunnel. */
  async function ask(address: string, signal: AbortSignal): Promise<Grant> {
    const call = fleet.operator.openTunnel({ address, purpose, onward: [...onward] })
    const said = messages(call, `tunnel to ${address}`)
    const patience = setTimeout(() => call.cancel(), grantWithinMs)
    const onAbort = () => call.cancel()
    signal.addEventListener('abort', onAbort)
    try {
      const first = await said.next()
      if (first.done || !first.value.grant) {
        const why = 'the controller gave no answer'
        throw new RelayError('unavailable', { what: address, why })
      }
      const grant = fromGrant(first.value.grant, address)
      const { tunnelId } = grant
      const hold = {
        [Symbol.dispose]() {
          calls.delete(tunnelId)
          call.cancel()
        },
      }
      calls.set(tunnelId, hold)
      void follow(address, tunnelId, said)
      return grant
    } catch (thrown) {
      call.cancel()
      throw RelayError.from(thrown, address)
    } finally {
      clearTimeout(patience)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** A controller that is lost takes nothing back; the agent's lease does, and by then so do we. */
  async function follow(address: string, tunnelId: string, said: AsyncIterator<unknown>): Promise<void> {
    const why = await said.next().then(
      () => new RelayError('closed', { what: address, why: 'the controller has ended the tunnel' }),
      thrown => RelayError.from(thrown, address),
    )
    if (!calls.has(tunnelId)) return
    const isLost = why.code === 'unavailable' || why.code === 'timed-out'
    if (isLost) {
      setTimeout(() => {
        if (calls.has(tunnelId)) routes.get(address)?.cut(why)
      }, defaultLeaseMs).unref()
    } else {
      routes.get(address)?.cut(why)
      withdrawn?.(why)
    }
  }

  function routeTo(address: string): Route {
    const known = routes.get(address)
    if (known) return known
    const route = openRoute({
      what: address,
      ask: signal => ask(address, signal),
      identity: () => fleet.credentials.identity,
      controller: () => parseHostPort(fleet.address, { what: fleet.address, fix: 'Write HOST:PORT' }),
      changed(change) {
        if (change.over) {
          // The controller may be about to say why.
          const hold = calls.get(change.tunnelId)
          setTimeout(() => hold?.[Symbol.dispose](), lastWordMs).unref()
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
      for (const hold of calls.values()) hold[Symbol.dispose]()
    },
  }
}

/** No other command, and no agent, has the same. */
const newId = () => `o-${randomBytes(8).toString('hex')}`
