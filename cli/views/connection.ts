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
  /** Of one that goes through a tunnel; absent otherwise. */
  readonly tunnel?: {
    /** Who has opened it: `agent/edge-1`, `operator/ann`. */
    readonly initiator: string
    /** The agent at whose end the target is. */
    readonly answeredBy: string
    /** The target as it is called there. */
    readonly target: string
    readonly way: string
    /** What an operator does with it. */
    readonly purpose?: string
  }
}

function tunnelOf({ connection, agent, answered, answeredBy }: ConnectionView): ConnectionItem['tunnel'] {
  const far = answered ?? (connection?.initiator ? connection : undefined)
  if (far) {
    const { initiator = '', target, way = connection?.way, purpose } = far
    return { initiator, answeredBy: answeredBy || agent, target, way: way ?? '', ...(purpose && { purpose }) }
  }
  const [, to = '', target = ''] = /^@([^/]+)\/(.*)$/s.exec(connection?.target ?? '') ?? []
  if (!to) return undefined
  return { initiator: `agent/${agent}`, answeredBy: to, target, way: connection?.way ?? '' }
}

export function connectionItem(view: ConnectionView): ConnectionItem {
  const { connection, agent, relay } = view
  const tunnel = tunnelOf(view)
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
    ...(tunnel && { tunnel }),
  }
}

/** `edge-1 to db-1, straight`. */
export function tunnelText(tunnel: ConnectionItem['tunnel']): string {
  if (!tunnel) return ''
  const { initiator, answeredBy, way, purpose } = tunnel
  const how = way === 'controller' ? 'through the controller' : way
  return `${initiator} to agent/${answeredBy}${how && `, ${how}`}${purpose ? ` (${purpose})` : ''}`
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
    { title: 'TUNNEL', wide: true, cell: item => tunnelText(item.tunnel) },
    { title: 'TLS-IDENTITY', wide: true, cell: item => item.tlsIdentity },
  ],
}
