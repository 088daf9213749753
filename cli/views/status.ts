import type { GetStatusResponse, WhoAmIResponse } from '#gen/fleetcat/v1/operator.ts'
import type { Context } from '../config.ts'
import { sections } from '../output/sections.ts'
import { since, until } from '../output/time.ts'
import { time } from './words.ts'

export interface StatusItem {
  readonly kind: 'Status'
  readonly cluster: string
  readonly version: string
  readonly address: string
  readonly addresses: readonly string[]
  readonly startedAt: string | null
  readonly clock: string | null
  readonly epoch: number
  readonly revision: number
  readonly agents: { readonly joined: number; readonly attached: number }
  readonly relays: number
  readonly connections: number
  readonly you: { readonly name: string; readonly role: string; readonly expiresAt: string | null }
  readonly context: string
}

export function statusItem(status: GetStatusResponse, who: WhoAmIResponse, context: Context): StatusItem {
  return {
    kind: 'Status',
    cluster: status.cluster,
    version: status.version,
    address: status.advertised,
    addresses: context.addresses,
    startedAt: time(status.startedAt),
    clock: time(status.clock),
    epoch: Number(status.epoch),
    revision: Number(status.revision),
    agents: { joined: status.agents, attached: status.agentsAttached },
    relays: status.relays,
    connections: status.connections,
    you: { name: who.name, role: who.role, expiresAt: time(who.expiresAt) },
    context: context.name,
  }
}

export function describeStatus(item: StatusItem): string {
  const now = Date.now()
  return sections([
    {
      fields: [
        ['Cluster', item.cluster],
        ['Controller', `${item.version} at ${item.address}, up ${since(item.startedAt, now)}`],
        ['Agents', `${item.agents.attached} attached of ${item.agents.joined}`],
        ['Relays', item.relays],
        ['Connections', item.connections],
        [
          'You',
          `${item.you.name} (${item.you.role}), certificate for ${until(item.you.expiresAt, now)} more`,
        ],
        ['Context', item.context],
      ],
    },
  ])
}
