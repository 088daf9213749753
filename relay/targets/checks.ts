import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenContext } from '../endpoint.ts'
import type { RelayError } from '../errors.ts'
import { openScope } from '../scope.ts'
import { check } from './check.ts'
import type { HealthCheck } from './health-check.ts'
import type { Target } from './target.ts'

/** At the latest so long after a relay is ready its targets are looked at for the first time. */
const firstWithinMs = 1_000

/** What checks are opened with. While `barrier` says why nothing may be opened now, nothing is. */
export interface CheckContext extends Omit<OpenContext, 'signal'> {
  readonly barrier?: (() => RelayError | undefined) | undefined
}

/**
 * Looks at these targets again and again until it is disposed: then nothing more is opened, at once, and disposal
 * resolves when what was open is closed. `changed` is told when a target's health changes.
 */
export function startChecks(
  targets: readonly Target[],
  health: HealthCheck,
  cx: CheckContext,
  changed: (target: Target) => void,
): AsyncDisposable {
  const scope = openScope()
  const { signal } = scope

  const watch = async (target: Target) => {
    let streak = 0
    // What looks at the same target from many hosts shall not do so at the same moments.
    let waitMs = Math.random() * Math.min(health.intervalMs, firstWithinMs)
    for (;;) {
      await sleep(waitMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      const begunAt = performance.now()
      if (cx.barrier?.()) {
        waitMs = health.intervalMs
        continue
      }
      const error = await check(target.endpoint, health, { ...cx, signal })
      if (signal.aborted) return
      streak = judge(target, error, health, streak, changed)
      const intervalMs = health.intervalMs * (0.9 + 0.2 * Math.random())
      waitMs = Math.max(0, intervalMs - (performance.now() - begunAt))
    }
  }
  const watching = Promise.all(targets.map(watch))

  return {
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]()
      await watching
    },
  }
}

/** `streak` counts the checks in a row that speak against the target's health. Returns what it is now. */
function judge(
  target: Target,
  error: RelayError | undefined,
  { rise, fall }: HealthCheck,
  streak: number,
  changed: (target: Target) => void,
): number {
  const seen = error ? 'down' : 'up'
  if (error || target.health !== 'down') target.error = error
  if (seen === target.health) return 0
  const enough = target.health === 'unknown' ? 1 : seen === 'up' ? rise : fall
  if (streak + 1 < enough) return streak + 1
  target.error = error
  target.health = seen
  target.since = new Date()
  changed(target)
  return 0
}
