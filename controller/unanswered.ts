import type { Revocation } from '#gen/fleetcat/v1/relay.ts'

/**
 * Which revocations each agent has yet to answer: asked whenever an agent attaches, when it would not do to look
 * through all the revocations that ever were.
 */
export interface Unanswered {
  of(agent: string): readonly string[]
  asked(revocation: Revocation, isAnswered: (agent: string) => boolean): void
  answered(revocationId: string, agent: string): void
  clear(): void
}

export function openUnanswered(): Unanswered {
  const byAgent = new Map<string, Set<string>>()
  return {
    of: agent => [...(byAgent.get(agent) ?? [])],
    asked({ id, agents }, isAnswered) {
      for (const agent of agents) {
        if (isAnswered(agent)) continue
        const ids = byAgent.get(agent) ?? new Set()
        byAgent.set(agent, ids.add(id))
      }
    },
    answered(revocationId, agent) {
      const ids = byAgent.get(agent)
      ids?.delete(revocationId)
      if (ids?.size === 0) byAgent.delete(agent)
    },
    clear: () => byAgent.clear(),
  }
}
