import { setTimeout as pause } from 'node:timers/promises'
import { AgentState } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { unary } from '#wire/call.ts'
import { failureOf } from '#wire/failure.ts'
import { type FleetOptions, withFleet } from './client.ts'
import { formatDuration } from './duration.ts'
import { progress } from './output/progress.ts'
import { type StatusItem, statusItem } from './views/status.ts'

/** Rejects when the controller does not answer or, under `up`, its own agent is not ready. */
export function fleetStatus(options: FleetOptions, timeoutMs = 5_000): Promise<StatusItem> {
  return withFleet(options, async (operator, { context }) => {
    const what = 'status'
    const [status, who] = await Promise.all([
      unary(operator, operator.getStatus, {}, { what, timeoutMs }),
      unary(operator, operator.whoAmI, {}, { what, timeoutMs }),
    ])
    if (context.localAgent !== undefined) {
      const request = { selector: '', name: context.localAgent }
      const { agents } = await unary(operator, operator.listAgents, request, { what, timeoutMs })
      if (agents[0]?.state !== AgentState.READY) {
        throw new RelayError('unavailable', {
          what: `agent/${context.localAgent}`,
          why: agents[0] ? 'it is not attached to its controller' : 'it has not joined yet',
          fix: 'Wait for it with `fleetcat status --wait 30s`',
        })
      }
    }
    return statusItem(status, who, context)
  })
}

const intervalMs = 100

/** What passes by itself: nothing listens yet, or nobody has written the context yet. */
const passing = new Set(['unavailable', 'timed-out', 'unauthenticated'])

export async function untilAnswered(options: FleetOptions, waitMs: number): Promise<StatusItem> {
  using waiting = progress()
  const deadline = performance.now() + waitMs
  for (;;) {
    const left = deadline - performance.now()
    try {
      return await fleetStatus(options, Math.max(1, Math.min(left, 5_000)))
    } catch (thrown) {
      const error = failureOf(thrown, 'status')
      if (!passing.has(error.code)) throw error
      if (deadline - performance.now() <= intervalMs) throw overdue(error, waitMs)
      waiting.say(`waiting: ${error.what}: ${error.why}`)
    }
    await pause(intervalMs)
  }
}

const overdue = (error: RelayError, waitMs: number) =>
  new RelayError('timed-out', {
    what: `no status within ${formatDuration(waitMs)}`,
    why: `${error.what}: ${error.why}`,
    fix: error.fix,
    cause: error,
  })
