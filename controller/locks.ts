import type { Ban } from '#gen/fleetcat/v1/agent.ts'
import type { Revocation } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { startTimer } from '#relay/timer.ts'
import type { Mirror } from './mirror.ts'
import { parseTarget } from './target.ts'

/** What revocations still shut out: sources, and names that nothing new may take. */
export interface Locks extends Disposable {
  /** Every source that is shut out now. */
  bans(): Ban[]
  /** Throws a RelayError `revoked` while this name is locked: `relay/web`. */
  check(target: string): void
  /** Sources were shut out or let in again, by an order or by time. */
  onBans(listener: () => void): () => void
}

/** Does it shut anything out, at this moment? */
export function holds({ target, liftedAt, lockUntil }: Revocation, now = Date.now()): boolean {
  if (liftedAt) return false
  return lockUntil ? lockUntil.getTime() > now : parseTarget(target).kind === 'source'
}

export function openLocks(mirror: Mirror): Locks {
  const holding = new Map<string, Revocation>()
  const listeners = new Set<() => void>()
  let stopTimer = () => {}

  function learn(ids: Iterable<string>): void {
    let bansChanged = false
    for (const id of ids) {
      const before = holding.get(id)
      const now = mirror.revocations.get(id)?.value
      const isHolding = now !== undefined && holds(now)
      if (isHolding) holding.set(id, now)
      else holding.delete(id)
      if (isBan(before) || (isHolding && isBan(now))) bansChanged = true
    }
    awaitNext()
    if (bansChanged) for (const listener of listeners) listener()
  }

  /** Wakes when the next lock ends. */
  function awaitNext(): void {
    stopTimer()
    const ends = [...holding.values()].flatMap(({ lockUntil }) => (lockUntil ? [lockUntil.getTime()] : []))
    if (ends.length === 0) return
    stopTimer = startTimer(Math.max(1, Math.min(...ends) - Date.now()), () => learn([...holding.keys()]))
  }

  const stop = mirror.onChange(change => {
    if (change.everything) learn(new Set([...holding.keys(), ...mirror.revocations.keys()]))
    else if (change.revocations.length > 0) learn(change.revocations)
  })
  learn(mirror.revocations.keys())

  return {
    bans: () =>
      [...holding.values()].filter(isBan).map(({ id, targetId, except, relayIds }) => {
        return { revocationId: id, cidr: targetId, except, relayIds }
      }),
    check(target) {
      const lock = [...holding.values()].find(each => each.target === target && holds(each))
      if (!lock) return
      const { id, by, reason, lockUntil } = lock
      throw new RelayError('revoked', {
        what: target,
        why: `${by} revoked it${reason && ` (${reason})`}, and its name is locked until ${lockUntil?.toISOString()}`,
        fix: `Choose another name, or let it in again: fleetcat lift ${id}`,
      })
    },
    onBans(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    [Symbol.dispose]() {
      stop()
      stopTimer()
    },
  }
}

const isBan = (revocation: Revocation | undefined) =>
  revocation !== undefined && parseTarget(revocation.target).kind === 'source'
