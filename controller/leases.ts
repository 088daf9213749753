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

/** What an earlier process of this controller granted was granted before this one started. */
export function openLeases(startedAt: Date): Leases {
  const grantedAt = new Map<string, number>()
  return {
    granted: agent => void grantedAt.set(agent, Date.now()),
    endsBy: (agent, leaseMs) => new Date((grantedAt.get(agent) ?? startedAt.getTime()) + leaseMs + closingMs),
  }
}
