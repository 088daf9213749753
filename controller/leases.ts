/**
 * By when an agent that is out of reach has let go: the controller's half of the leases. An agent counts from when it
 * asked, and the controller from when it answered, which is later; so what is said here is never too early.
 */
export interface Leases {
  /** This agent was told that it may go on. */
  granted(agent: string): void
  /** Without another word to it, this agent has closed a relay with a lease of this length by then. */
  endsBy(agent: string, leaseMs: number): Date
}

/** What the agent may take to close what it has to close. */
const closingMs = 1_000

/** The wall clock may drift by so much against the monotonic one before it counts as set. */
const driftMs = 50

export interface LeaseClocks {
  readonly monotonic: () => number
  readonly wall: () => number
}

const systemClocks: LeaseClocks = { monotonic: () => performance.now(), wall: () => Date.now() }

/**
 * What an earlier process of this controller granted was granted before this one started. Counted by the clock that
 * nobody sets: whoever sets the other one changes how an end is written, and not when it is.
 */
export function openLeases({ monotonic, wall }: LeaseClocks = systemClocks): Leases {
  const startedAt = monotonic()
  const grantedAt = new Map<string, number>()
  let ahead = wall() - startedAt

  function inWallTime(at: number): Date {
    const now = wall() - monotonic()
    if (Math.abs(now - ahead) > driftMs) ahead = now
    return new Date(at + ahead)
  }

  return {
    granted: agent => void grantedAt.set(agent, monotonic()),
    endsBy: (agent, leaseMs) => inWallTime((grantedAt.get(agent) ?? startedAt) + leaseMs + closingMs),
  }
}
