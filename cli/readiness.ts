import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { messages } from '#wire/call.ts'
import { formatDuration } from './duration.ts'
import { exitCodes } from './exit-codes.ts'
import { colourOfState, painter } from './output/colour.ts'
import { progress } from './output/progress.ts'
import type { Column } from './output/table.ts'
import { type AgentOfRelay, type RelayItem, relayItem } from './views/relay.ts'

/** What was seen last, and the exit code that it means. */
export interface Outcome {
  readonly relay: RelayItem
  readonly exitCode: number
}

/**
 * Waits until every agent of a relay has answered ready, one has refused, or the time is over. If it is patient, also
 * past a refusal after which the agent tries again by itself, such as a port in use.
 */
export async function untilReady(
  operator: OperatorServiceClient,
  name: string,
  timeoutMs: number,
  { patient = false } = {},
): Promise<Outcome> {
  using waiting = progress()
  const filter = { selector: '', agent: '', name }
  const stream = operator.watchRelays({ filter })
  let relay: RelayItem | undefined
  let overdue = false
  const timer = setTimeout(() => {
    overdue = true
    stream.cancel()
  }, timeoutMs)
  try {
    for await (const { relays } of messages(stream, `wait for relay/${name}`)) {
      const view = relays[0]
      if (!view) {
        throw new RelayError(relay ? 'revoked' : 'not-found', {
          what: `relay/${name}`,
          why: relay ? 'it was revoked meanwhile' : 'there is no relay of this name',
          fix: '`fleetcat list` shows what there is',
        })
      }
      relay = relayItem(view)
      const exitCode = verdict(relay, patient)
      if (exitCode !== undefined) return { relay, exitCode }
      waiting.say(`relay/${name}: ${readyCount(relay)} of ${relay.status.agents.length} agents ready…`)
    }
  } catch (thrown) {
    if (!overdue) throw thrown
  } finally {
    clearTimeout(timer)
  }
  if (relay && overdue) return { relay, exitCode: overdueCode(relay) }
  throw new RelayError(overdue ? 'timed-out' : 'unavailable', {
    what: `wait for relay/${name}`,
    why: overdue ? `no answer within ${formatDuration(timeoutMs)}` : 'the controller ended the watch',
    fix: 'Look again with `fleetcat list`',
  })
}

/** Undefined while there is still something to wait for. A one-shot relay that has served is as good as ready. */
function verdict({ metadata, status }: RelayItem, patient: boolean): number | undefined {
  const current = status.agents.filter(({ generation }) => generation >= metadata.generation)
  const refusals = current.filter(({ state }) => state === 'rejected' || state === 'expired')
  if (refusals.some(({ retryAt }) => !(patient && retryAt))) return exitCodes.partial
  // A window that is closed will open by itself, perhaps in days.
  const isClosed = ({ state, retryAt }: AgentOfRelay) => state === 'pending' && retryAt !== null && !patient
  const settled = current.filter(each => each.state === 'ready' || each.state === 'done' || isClosed(each))
  return settled.length > 0 && settled.length === status.agents.length ? exitCodes.ok : undefined
}

/** Whoever is only out of reach is not late: no more patience would have helped. */
function overdueCode({ status }: RelayItem): number {
  const missing = status.agents.filter(({ state }) => state !== 'ready' && state !== 'done')
  const outOfReach = missing.length > 0 && missing.every(({ state }) => state === 'unreachable')
  return outOfReach ? exitCodes.partial : exitCodes.timedOut
}

const readyCount = ({ status }: RelayItem) => status.agents.filter(({ state }) => state === 'ready').length

export const agentColumns: readonly Column<AgentOfRelay>[] = [
  { title: 'AGENT', cell: row => row.agent },
  { title: 'STATE', cell: row => row.state, colour: row => colourOfState(row.state) },
  { title: 'LOCAL', cell: row => row.local.join(',') },
  { title: 'CONNS', cell: row => String(row.connections), right: true },
  { title: 'ERROR', cell: row => row.error ?? '' },
]

export const plainTable = () => ({
  wide: false,
  headers: true,
  paint: painter(process.stdout),
  now: Date.now(),
})
