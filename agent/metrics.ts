import { Counter, Gauge, type MetricsServer, openRegistry, serveMetrics } from '#telemetry/metrics.ts'
import type { Reconciler } from './reconciler.ts'
import type { Roster } from './roster.ts'
import type { Incoming } from './tunnels/incoming.ts'

export interface Measured {
  readonly reconciler: Pick<Reconciler, 'states' | 'refusals' | 'checked'>
  readonly roster: Pick<Roster, 'live' | 'totals'>
  readonly tunnels: Pick<Incoming, 'counts'>
  readonly isAttached: () => boolean
}

/** Serves this agent's figures as Prometheus text. Rejects with a RelayError that names the address. */
export async function openMetrics(
  address: string,
  { reconciler, roster, tunnels, isAttached }: Measured,
): Promise<MetricsServer> {
  const registry = openRegistry()
  const registers = [registry]
  new Gauge({
    name: 'fleetcat_relays',
    help: 'Relays of this agent by state',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset()
      for (const [state, count] of reconciler.states()) this.set({ state }, count)
    },
  })
  new Gauge({
    name: 'fleetcat_connections',
    help: 'Live connections',
    registers,
    collect() {
      this.set(roster.live.size)
    },
  })
  new Gauge({
    name: 'fleetcat_target_up',
    help: 'Targets with health checks: 1 while up, 0 while down',
    labelNames: ['relay', 'target'],
    registers,
    collect() {
      this.reset()
      for (const { relay, target } of reconciler.checked())
        this.set({ relay, target: target.address }, target.health === 'up' ? 1 : 0)
    },
  })
  new Gauge({
    name: 'fleetcat_session_attached',
    help: '1 while the controller is attached, else 0',
    registers,
    collect() {
      this.set(isAttached() ? 1 : 0)
    },
  })
  new Counter({
    name: 'fleetcat_connections_total',
    help: 'Connections since this start',
    registers,
    collect() {
      this.reset()
      this.inc(roster.totals.connections)
    },
  })
  new Counter({
    name: 'fleetcat_bytes_total',
    help: 'Bytes carried: in is from client to target, out is back',
    labelNames: ['direction'],
    registers,
    collect() {
      const { bytesIn, bytesOut } = roster.totals
      this.reset()
      this.inc({ direction: 'in' }, bytesIn)
      this.inc({ direction: 'out' }, bytesOut)
    },
  })
  new Counter({
    name: 'fleetcat_refusals_total',
    help: 'Connections refused or failed, by cause',
    labelNames: ['cause'],
    registers,
    collect() {
      this.reset()
      for (const [cause, count] of reconciler.refusals) this.inc({ cause }, count)
    },
  })
  new Gauge({
    name: 'fleetcat_tunnels',
    help: 'Live tunnels that end on this host',
    registers,
    collect() {
      this.set(tunnels.counts.live)
    },
  })
  new Counter({
    name: 'fleetcat_tunnel_refusals_total',
    help: 'Connections turned away that came for a tunnel, by cause',
    labelNames: ['cause'],
    registers,
    collect() {
      this.reset()
      for (const [cause, count] of tunnels.counts.dropped) this.inc({ cause }, count)
    },
  })
  try {
    const server = await serveMetrics(address, registry)
    return {
      local: server.local,
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]()
        await registry[Symbol.asyncDispose]()
      },
    }
  } catch (refusal) {
    await registry[Symbol.asyncDispose]()
    throw refusal
  }
}
