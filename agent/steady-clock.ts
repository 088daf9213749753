import { readFileSync } from 'node:fs'

/**
 * Milliseconds since some moment, by a clock that nobody sets and that does not stop while the host is suspended or
 * this process is.
 */
export type SteadyClock = () => number

export interface ClockSources {
  /** Stops in suspend. */
  readonly monotonic: () => number
  /** Jumps over a suspend, and also when somebody sets it. */
  readonly wall: () => number
  /** Counts suspend; slow to read. Absent where the system has none. */
  readonly uptime: () => number | undefined
}

const systemSources: ClockSources = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  uptime: readUptime,
}

/** The wall clock may drift by so much against the monotonic one before the uptime is asked. */
const driftMs = 50

/**
 * The later of the monotonic clock and the uptime of the system. The uptime is only read when the wall clock and the
 * monotonic clock have parted, which they do in a suspend (and when the wall clock is set, which then changes nothing),
 * so that this may be asked for every chunk of bytes.
 */
export function openSteadyClock(sources: ClockSources = systemSources): SteadyClock {
  const { monotonic, wall, uptime } = sources
  const uptimeAhead = () => {
    const up = uptime()
    return up === undefined ? undefined : up - monotonic()
  }
  const atFirst = uptimeAhead()
  let drift = wall() - monotonic()
  let slept = 0

  return () => {
    const now = monotonic()
    const drifted = wall() - now
    if (Math.abs(drifted - drift) > driftMs) {
      drift = drifted
      const ahead = uptimeAhead()
      if (ahead !== undefined && atFirst !== undefined) slept = Math.max(slept, ahead - atFirst)
    }
    return now + slept
  }
}

function readUptime(): number | undefined {
  try {
    return Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1_000
  } catch {
    return undefined
  }
}
