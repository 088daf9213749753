/**
 * Which of an agent's processes is the late one. Their clocks say nothing: a host may start with its clock set back,
 * and a thief may claim any. What counts is who was here first: a process that another has taken over from is late for
 * ever, and any that is new takes over.
 */
export interface Boots {
  isLate(agent: string, bootId: string): boolean
  /** Another process of this agent has come. */
  superseded(agent: string, bootId: string): void
}

/** Enough to tell two processes apart that take turns; an agent that restarts for ever costs no memory. */
const remembered = 16

export function openBoots(): Boots {
  const late = new Map<string, Set<string>>()
  return {
    isLate: (agent, bootId) => late.get(agent)?.has(bootId) ?? false,
    superseded(agent, bootId) {
      const boots = late.get(agent) ?? new Set()
      late.set(agent, boots.add(bootId))
      const [oldest] = boots
      if (boots.size > remembered && oldest !== undefined) boots.delete(oldest)
    },
  }
}
