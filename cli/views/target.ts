import { Health, type TargetReport } from '#gen/fleetcat/v1/relay.ts'
import { colourOfState } from '../output/colour.ts'
import type { Column } from '../output/table.ts'
import { since } from '../output/time.ts'
import { problemText, time } from './words.ts'

/** How a target fares on one agent. */
export interface TargetItem {
  readonly target: string
  /** `unknown` without health checks, and before the first. */
  readonly state: 'up' | 'down' | 'unknown'
  readonly since: string | null
  readonly connections: number
  readonly total: number
  readonly failures: number
  /** Why the last check or connection failed; null when it did not. */
  readonly error: string | null
}

export function targetItem(report: TargetReport): TargetItem {
  const { address, health, since, problem, connections, total, failures } = report
  return {
    target: address,
    state: health === Health.UP ? 'up' : health === Health.DOWN ? 'down' : 'unknown',
    since: time(since),
    connections,
    total: Number(total),
    failures: Number(failures),
    error: problemText(problem),
  }
}

export const targetColumns: readonly Column<TargetItem>[] = [
  { title: 'TARGET', cell: item => item.target },
  { title: 'STATE', cell: item => item.state, colour: item => colourOfState(item.state) },
  { title: 'SINCE', cell: (item, now) => since(item.since, now), right: true },
  { title: 'CONNS', cell: item => String(item.connections), right: true },
  { title: 'TOTAL', cell: item => String(item.total), right: true },
  { title: 'FAILED', cell: item => String(item.failures), right: true },
  { title: 'ERROR', cell: item => item.error ?? '' },
]
