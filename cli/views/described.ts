import { defaultLeaseMs } from '#wire/lease.ts'
import { formatDuration } from '../duration.ts'
import { painter } from '../output/colour.ts'
import { type Section, sections } from '../output/sections.ts'
import { table } from '../output/table.ts'
import { bytes, since, span, until } from '../output/time.ts'
import { type AgentItem, agentStateText } from './agent.ts'
import { type ConnectionItem, tunnelText } from './connection.ts'
import { flowFields } from './flow.ts'
import type { AgentOfRelay, RelayItem } from './relay.ts'
import { sharingFields } from './sharing.ts'
import { targetColumns } from './target.ts'
import { labelText } from './words.ts'

const style = () => ({ wide: false, headers: true, paint: painter(process.stdout), now: Date.now() })

export function describeRelay({ metadata, spec, status }: RelayItem): string {
  const { listen, targets, agents, selector, limits, lease, ttl, windows, balance, health, ...flow } = spec
  const now = Date.now()
  return sections([
    {
      fields: [
        ['Name', metadata.name],
        ['Id', metadata.id],
        ['State', status.state],
        ['Generation', metadata.generation],
        ['Labels', labelText(metadata.labels)],
        ['Created', created(metadata, now)],
        ['Reason', metadata.reason],
        ['Time to live', ttl],
        ['Windows', windows?.join(', ')],
        ['Expires', status.expiresAt && `${status.expiresAt} (${until(status.expiresAt, now)})`],
        ['Connections', status.connections],
        ['Lease', lease ?? `${formatDuration(defaultLeaseMs)} (the default)`],
      ],
    },
    {
      title: 'Addresses',
      fields: [
        ['listen', listen],
        ...targets.map(target => ['target', target] as const),
        ['agents', agents.join(', ')],
        ['selector', selector],
      ],
    },
    {
      title: 'Limits',
      fields: Object.entries(limits).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.join(', ') : String(value),
      ]),
    },
    { title: 'Balance', fields: sharingFields({ balance, health }) },
    { title: 'Flow', fields: flowFields(flow) },
    ...(status.agents.length === 0 ? [{ block: 'No agent matches it.\n' }] : []),
    ...status.agents.flatMap(agent => [onAgent(agent, now), targetsOn(agent)]),
  ])
}

const created = ({ createdAt, createdBy }: RelayItem['metadata'], now: number) =>
  createdAt && `${createdAt} (${since(createdAt, now)} ago) by ${createdBy}`

function onAgent(agent: AgentOfRelay, now: number): Section {
  return {
    title: `On ${agent.agent}`,
    fields: [
      ['state', agent.state],
      ['last heard', agent.lastHeardAt && `${agent.lastHeardAt} (${since(agent.lastHeardAt, now)} ago)`],
      ['error', agent.error],
      [
        agent.state === 'pending' ? 'opens in' : 'tries again in',
        agent.retryAt && `${until(agent.retryAt, now)} (${agent.retryAt})`,
      ],
      ['lease ends', agent.leasedUntil && `${agent.leasedUntil} unless it is renewed`],
      ['generation', agent.generation],
      ['listens at', agent.local.join(', ')],
      ['connections', agent.connections],
      ['refused', countsText(agent.refusals)],
      ['trace', agent.trace.map(({ at, state }) => `${state} ${at ?? ''}`.trim()).join(' → ')],
    ],
  }
}

const targetsOn = ({ agent, targets }: AgentOfRelay): Section => ({
  title: `Targets of ${agent}`,
  block: table(targets, targetColumns, style()),
})

const countsText = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([cause, n]) => `${n} ${cause}`)
    .join(', ')

export function describeAgent(item: AgentItem, relays: readonly RelayItem[]): string {
  const { metadata, status } = item
  const now = Date.now()
  const mine = relays.flatMap(relay =>
    relay.status.agents
      .filter(({ agent }) => agent === metadata.name)
      .map(on => ({ name: relay.metadata.name, listen: relay.spec.listen, ...on })),
  )
  return sections([
    {
      fields: [
        ['Name', metadata.name],
        ['State', agentStateText(item, now)],
        ['Labels', labelText(metadata.labels)],
        ['Host labels', labelText(metadata.hostLabels)],
        ['Version', status.version],
        ['Peer', status.peer],
        ['Enrolled', metadata.enrolledAt],
        ['Last heard', status.lastHeardAt && `${status.lastHeardAt} (${since(status.lastHeardAt, now)} ago)`],
        ['Certificate', status.certificateExpiresAt && `until ${status.certificateExpiresAt}`],
        ['Clock ahead', status.clockAheadMs === null ? null : `${Math.round(status.clockAheadMs)} ms`],
        ['Boot', status.bootId],
        ['Connections', status.connections],
        ['Can run', status.capabilities.join(' ')],
      ],
    },
    {
      title: 'Relays',
      block: table(
        mine,
        [
          { title: 'NAME', cell: row => row.name },
          { title: 'STATE', cell: row => row.state },
          { title: 'LISTEN', cell: row => row.listen },
          { title: 'CONNS', cell: row => String(row.connections), right: true },
          { title: 'ERROR', cell: row => row.error ?? '' },
        ],
        style(),
      ),
    },
  ])
}

export function describeConnection(item: ConnectionItem): string {
  return sections([
    {
      fields: [
        ['Id', item.id],
        ['Relay', item.relay],
        ['Agent', item.agent],
        ['Source', item.source],
        ['Target', item.target],
        ['Tunnel', tunnelText(item.tunnel)],
        ['Target there', item.tunnel?.target],
        ['TLS identity', item.tlsIdentity],
        ['Opened', item.openedAt && `${item.openedAt} (${since(item.openedAt, Date.now())} ago)`],
        ['Idle', span(item.idleMs)],
        ['In', `${item.bytesIn} bytes (${bytes(item.bytesIn)})`],
        ['Out', `${item.bytesOut} bytes (${bytes(item.bytesOut)})`],
      ],
    },
  ])
}
