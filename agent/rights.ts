import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import { type ErrorCode, RelayError } from '#relay/errors.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { leaseMs } from '#wire/lease.ts'
import { type OpeningHours, openingHours } from './opening-hours.ts'
import type { SteadyClock } from './steady-clock.ts'

/** What one relay may do here, by the controller's last word about it. */
export interface Right {
  /** How long it may run without another word. */
  readonly leaseMs: number
  readonly generation: bigint
  /** When its time is over, by the steady clock; Infinity if never. */
  readonly endsAt: number
  /** When it is open, if not always. */
  readonly hours: OpeningHours | undefined
}

export interface RightsContext {
  readonly clock: SteadyClock
  /** Milliseconds of the time of day of this host, which may be set. Windows go by it. */
  readonly wall: () => number
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
  /** When its window opens, if that is what it waits for. */
  opensAt(right: Right): Date | undefined
}

const byTime: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['lapsed', 'expired', 'out-of-hours'])

/** Is it only time that stands in the way? Nothing is wrong with the relay then. */
export const isOfTime = ({ code }: RelayError) => byTime.has(code)

export function openRights({ clock, wall, lease }: RightsContext): Rights {
  return {
    granted(desired, before) {
      const { generation, expiresIn } = desired
      const left = expiresIn ? toMilliseconds(expiresIn) : Infinity
      // What is said again may have been on its way for long, and a clock that is set must not give time back.
      const known = before?.generation === generation ? before.endsAt : Infinity
      const endsAt = Math.min(known, clock() + left)
      return { leaseMs: leaseMs(desired), generation, endsAt, hours: openingHours(desired.windows) }
    },
    barrier(name, { leaseMs, endsAt, hours }) {
      if (endsAt !== Infinity && clock() >= endsAt) return expired(name)
      if (!lease.holds(leaseMs)) return lapsed(name, leaseMs, lease.isBegun())
      const now = hours?.(wall())
      return now && !now.isOpen ? outOfHours(name, now.until) : undefined
    },
    changesIn({ endsAt, hours }) {
      const ends = endsAt > clock() ? endsAt - clock() : Infinity
      const now = wall()
      return Math.min(ends, (hours?.(now).until ?? Infinity) - now)
    },
    opensAt({ hours }) {
      const now = hours?.(wall())
      return now && !now.isOpen ? new Date(now.until) : undefined
    },
  }
}

function expired(name: string): RelayError {
  return new RelayError('expired', {
    what: `relay/${name}`,
    why: 'its time is over',
    fix: 'Create or apply it anew to give it more',
  })
}

function outOfHours(name: string, opensAt: number): RelayError {
  return new RelayError('out-of-hours', {
    what: `relay/${name}`,
    why: `its window is closed until ${new Date(opensAt).toISOString()}`,
    fix: 'It opens by itself',
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
