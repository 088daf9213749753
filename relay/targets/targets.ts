import type { Endpoint, Peer } from '../endpoint.ts'
import { type Balance, type Order, orderBy } from './balance.ts'
import { type CheckContext, startChecks } from './checks.ts'
import { equalChecks, type HealthCheck } from './health-check.ts'
import { newTargets, type Target, type TargetStatus } from './target.ts'

/** How the targets of a relay share its connections. */
export interface Sharing {
  /** `failover` if absent: the first that opens, from the first on. */
  readonly balance?: Balance
  /** None are made if absent. */
  readonly health?: HealthCheck
}

/** The targets of one relay. */
export interface Targets {
  readonly all: readonly Target[]
  /** In the order in which this client tries them. */
  inOrder(client: Peer): readonly Target[]
  /** For clients from now on. */
  setSharing(sharing: Sharing): void
  /** Checks, if there are any to make, from now until `stopChecks`, which resolves when nothing of them is open. */
  startChecks(): void
  stopChecks(): Promise<void>
}

export function openTargets(
  endpoints: readonly Endpoint[],
  first: Sharing,
  { checking, changed }: { checking: CheckContext; changed(target: TargetStatus): void },
): Targets {
  const all = newTargets(endpoints)
  let { balance, health } = first
  let order: Order = orderBy(balance ?? 'failover')
  let checks: AsyncDisposable | undefined
  let wanted = false
  let stopped = Promise.resolve()

  const start = () => {
    if (wanted && health) checks ??= startChecks(all, health, checking, changed)
  }

  const stop = () => {
    const running = checks
    checks = undefined
    if (running) stopped = Promise.all([stopped, running[Symbol.asyncDispose]()]).then(() => {})
    return stopped
  }

  const forget = (target: Target) => {
    if (target.health === 'unknown') return
    target.health = 'unknown'
    target.since = new Date()
    changed(target)
  }

  return {
    all,
    inOrder: client => order(all, client),
    setSharing(next) {
      if (next.balance !== balance) order = orderBy(next.balance ?? 'failover')
      balance = next.balance
      if (equalChecks(next.health, health)) return
      health = next.health
      void stop()
      if (health) start()
      else for (const target of all) forget(target)
    },
    startChecks() {
      wanted = true
      start()
    },
    stopChecks() {
      wanted = false
      return stop()
    },
  }
}
