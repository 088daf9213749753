import type { TunnelRequest } from '#gen/fleetcat/v1/agent.ts'
import type { TunnelGrant } from '#gen/fleetcat/v1/relay.ts'
import { type Incoming, type IncomingContext, openIncoming } from './incoming.ts'
import { type Cause, type Outgoing, openOutgoing } from './outgoing.ts'

export interface TunnelsContext extends Omit<IncomingContext, 'outgoing'> {
  /** Asks the controller for the right to a tunnel. Rejects with a RelayError when no answer comes. */
  ask(request: Omit<TunnelRequest, 'nonce'>): Promise<TunnelGrant>
}

/** The tunnels of this host: those that end here, and the ways from here to others. */
export interface Tunnels extends Incoming {
  outgoing(cause: Cause): Outgoing
}

export function openTunnels(cx: TunnelsContext): Tunnels {
  const going = new Set<Outgoing>()
  const outgoing = (cause: Cause) => {
    const opened: Outgoing = openOutgoing(cause, cx, () => going.delete(opened))
    going.add(opened)
    return opened
  }
  const incoming = openIncoming({ ...cx, outgoing })
  return {
    ...incoming,
    outgoing,
    async cutPeer(peer, reason) {
      const { listenersClosed, connectionsCut } = await incoming.cutPeer(peer, reason)
      const agent = peer.startsWith('agent/') ? peer.slice('agent/'.length) : undefined
      const ways = agent === undefined ? [] : [...going]
      const gone = ways.reduce((sum, way) => sum + way.cutAgent(agent!, reason), 0)
      return { listenersClosed, connectionsCut: connectionsCut + gone }
    },
  }
}
