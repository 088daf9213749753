import { defaultLeaseMs } from '#wire/lease.ts'
import type { SteadyClock } from './steady-clock.ts'

/**
 * This agent's right to run relays. The controller confirms it, and it counts from the moment when the agent asked: what
 * delays the answer only shortens it. Each relay has a lease of its own length, counted from that same moment.
 */
export interface Lease extends Disposable {
  /** Has a relay with a lease of this length the right to run, now? Cheap enough to ask before each chunk of bytes. */
  holds(leaseMs: number): boolean
  /** Was it ever confirmed since this agent started? */
  readonly begun: boolean
  /** A new question; it counts from this call. */
  ask(): bigint
  /** The controller's answer. Answers to questions that were never asked count for nothing. */
  granted(nonce: bigint): void
  /** Other relays are here now: one of them may have a lease that is too short for the last answer. */
  lengthsChanged(): void
}

export interface LeaseContext {
  readonly clock: SteadyClock
  /** The lengths of the leases that matter here. */
  readonly lengths: () => Iterable<number>
  /** It is time to ask. */
  readonly due: () => void
  /** Some relays have lost the right to run, or have it again. */
  readonly changed: () => void
}

/** How often the clock is looked at, at least: timers sleep when the host does. */
const lookMs = 1_000
/** Questions that are still waiting for their answer; of more the oldest are given up. */
const mostAsked = 16

export function openLease({ clock, lengths, due, changed }: LeaseContext): Lease {
  const asked = new Map<bigint, number>()
  let lastNonce = 0n
  let from = -Infinity
  let lastAsked = -Infinity
  let timer: NodeJS.Timeout | undefined
  let held = new Set<number>()
  let isOver = false

  const holds = (leaseMs: number) => clock() < from + leaseMs

  function look(): void {
    if (isOver) return
    clearTimeout(timer)
    const now = clock()
    const all = [...new Set(lengths())]
    const holding = new Set(all.filter(holds))
    if (all.some(length => holding.has(length) !== held.has(length))) changed()
    held = holding
    const third = Math.min(defaultLeaseMs, ...all) / 3
    const askIn = lastAsked + third - now
    if (askIn <= 0) {
      lastAsked = now
      due()
    }
    const ends = [...holding].map(length => from + length - now)
    const next = Math.min(lookMs, askIn <= 0 ? third : askIn, ...ends)
    timer = setTimeout(look, Math.max(1, Math.ceil(next)))
  }
  timer = setTimeout(look, lookMs)

  return {
    holds,
    get begun() {
      return from > -Infinity
    },
    ask() {
      const nonce = ++lastNonce
      lastAsked = clock()
      asked.set(nonce, lastAsked)
      const [oldest] = asked.keys()
      if (asked.size > mostAsked && oldest !== undefined) asked.delete(oldest)
      return nonce
    },
    granted(nonce) {
      const at = asked.get(nonce)
      if (at === undefined) return
      for (const older of asked.keys()) if (older <= nonce) asked.delete(older)
      from = Math.max(from, at)
      look()
    },
    lengthsChanged: look,
    [Symbol.dispose]() {
      isOver = true
      clearTimeout(timer)
    },
  }
}
