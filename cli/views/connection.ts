import type { ConnectionView } from '#gen/fleetcat/v1/operator.ts'
import { toMilliseconds } from '#wire/duration.ts'
import type { Presentation } from '../output/print.ts'
import { bytes, since, span } from '../output/time.ts'
import { time } from './words.ts'

export interface ConnectionItem {
  readonly kind: 'Connection'
  readonly id: string
  readonly relay: string
  readonly agent: string
  readonly source: string
  readonly target: string
  readonly openedAt: string | null
  readonly idleMs: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly tlsIdentity: string
}

export function connectionItem({ connection, agent, relay }: ConnectionView): ConnectionItem {
  return {
    kind: 'Connection',
    id: connection?.id ?? '',
    relay,
    agent,
    source: connection?.source ?? '',
    target: connection?.target ?? '',
    openedAt: time(connection?.openedAt),
    idleMs: connection?.idle ? Math.round(toMilliseconds(connection.idle)) : 0,
    bytesIn: Number(connection?.bytesIn ?? 0n),
    bytesOut: Number(connection?.bytesOut ?? 0n),
    tlsIdentity: connection?.tlsIdentity ?? '',
  }
}

export const connections: Presentation<ConnectionItem> = {
  listKind: 'ConnectionList',
  none: 'No live connection.',
  unmatched: 'No live connection matches.',
  name: item => `conn/${item.id}`,
  key: item => item.id,
  columns: [
    { title: 'ID', cell: item => item.id },
    { title: 'RELAY', cell: item => item.relay },
    { title: 'AGENT', cell: item => item.agent },
    { title: 'SOURCE', shrinks: true, cell: item => item.source },
    { title: 'TARGET', shrinks: true, cell: item => item.target },
    { title: 'AGE', cell: (item, now) => since(item.openedAt, now), right: true },
    { title: 'IDLE', cell: item => span(item.idleMs), right: true },
    { title: 'IN', cell: item => bytes(item.bytesIn), right: true },
    { title: 'OUT', cell: item => bytes(item.bytesOut), right: true },
    { title: 'TLS-IDENTITY', wide: true, cell: item => item.tlsIdentity },
  ],
}
