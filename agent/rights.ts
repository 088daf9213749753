import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import { type ErrorCode, RelayError } from '#relay/errors.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { leaseMs } from '#wire/lease.ts'
import type { SteadyClock } from './steady-clock.ts'

/** What one relay may do here, by the controller's last word about it. */
export interface Right {
  /** How long it may run without another word. */
  readonly leaseMs: number
  readonly generation: bigint
  /** When its time is over, by the steady clock; Infinity if never. */
  readonly endsAt: number
}

export interface RightsContext {
  readonly clock: SteadyClock
  readonly lease: { holds(leaseMs: number): boolean; isBegun(): boolean }
}

/** Whether a relay may run now, as far as time decides it. */
export interface Rights {
  /** What an order gives that is heard now, to a relay that has had `before`. */
  granted(desired: Desired, before: Right | undefined): Right
  /** Why it may not run now, if it may not. Cheap enough to ask before each chunk of bytes. */
  barrier(name: string, right: Right): RelayError | undefined
  /** In how many milliseconds that will be otherwise, as far as it is known. */
  changesIn(right: Right): number
}

const byTime: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['lapsed', 'expired'])

/** Is it only time that stands in the way? Nothing is wrong with the relay then. */
export const isOfTime = ({ code }: RelayError) => byTime.has(code)

export function openRights({ clock, lease }: RightsContext): Rights {
  return {
    granted(desired, before) {
      const { generation, expiresIn } = desired
      const left = expiresIn ? toMilliseconds(expiresIn) : Infinity
      // What is said again may have been on its way for long, and a clock that is set must not give time back.
      const known = before?.generation === generation ? before.endsAt : Infinity
      return { leaseMs: leaseMs(desired), generation, endsAt: Math.min(known, clock() + left) }
    },
    barrier(name, { leaseMs, endsAt }) {
      if (endsAt !== Infinity && clock() >= endsAt) return expired(name)
      return lease.holds(leaseMs) ? undefined : lapsed(name, leaseMs, lease.isBegun())
    },
    changesIn: ({ endsAt }) => (endsAt > clock() ? endsAt - clock() : Infinity),
  }
}

function expired(name: string): RelayError {
  return new RelayError('expired', {
    what: `relay/${name}`,
    why: 'its time is over',
    fix: 'Create or apply it anew to give it more',
  })
}

function lapsed(name: string, leaseMs: number, begun: boolean): RelayError {
  return new RelayError('lapsed', {
    what: `relay/${name}`,
    why: begun
      ? `this host has had no word from the controller for the ${leaseMs / 1_000} s of its lease`
      : 'the controller has not yet said that it may run',
    fix: 'It comes back by itself when the controller can be reached again',
  })
}
