import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { Gauge, type Registry } from '#telemetry/metrics.ts'
import type { Front } from './front.ts'
import type { Parts } from './parts.ts'

const stateNames = Object.entries(RelayState).filter(([, value]) => value > 0)

/** The controller's figures. Each is read when it is scraped: nothing is counted twice. */
export function registerMetrics(
  registry: Registry,
  { hosts, mirror, views, store, sink, rendezvous }: Parts,
  front: Front,
): void {
  const registers = [registry]
  gauge('fleetcat_agents_enrolled', 'Agents that have joined and are not revoked', () => {
    return [...mirror.agents.values()].filter(({ value }) => !value.revoked).length
  })
  gauge('fleetcat_agents_attached', 'Agents with a live session', () => {
    return [...hosts.all()].filter(host => host.session).length
  })
  gauge('fleetcat_store_revision', 'Revision of the store that this controller has seen', () =>
    Number(mirror.rev),
  )
  gauge('fleetcat_connections', 'Live connections through relays, as the attached agents report them', () => {
    return [...hosts.all()].reduce((sum, host) => sum + (host.session ? host.connections.size : 0), 0)
  })
  gauge('fleetcat_connection_bytes', 'Bytes that the live connections have carried, both ways', () => {
    let bytes = 0n
    for (const host of hosts.all())
      for (const each of host.connections.values()) bytes += each.bytesIn + each.bytesOut
    return Number(bytes)
  })
  gauge('fleetcat_tunnels', 'Tunnels that this controller joins', () => rendezvous.counts.live)
  gauge('fleetcat_tunnel_bytes_total', 'Bytes that it has passed on through tunnels, unread', () => {
    return rendezvous.counts.bytes
  })
  const rows = async () => Number((await store.audit.ends()).head.seq)
  gauge('fleetcat_audit_rows_total', 'Rows that the audit log has ever had', rows)
  if (sink)
    gauge(
      'fleetcat_audit_unsent_rows',
      'Rows of the audit log that the collector does not have yet',
      async () => Math.max(0, (await rows()) - Number(sink.delivered)),
    )
  new Gauge({
    name: 'fleetcat_relays',
    help: 'Relays by the gravest state of their agents',
    labelNames: ['state'],
    registers,
    collect() {
      const counts: ReadonlyMap<number, number> = views.states()
      for (const [name, value] of stateNames) this.set({ state: name.toLowerCase() }, counts.get(value) ?? 0)
    },
  })
  new Gauge({
    name: 'fleetcat_front_refusals_total',
    help: 'Connections turned away at the port, by cause',
    labelNames: ['cause'],
    registers,
    collect() {
      for (const [cause, count] of front.turnedAway) this.set({ cause }, count)
    },
  })

  function gauge(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await read())
      },
    })
  }
}
