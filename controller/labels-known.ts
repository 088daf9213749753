import { equalLabels } from './labels.ts'
import type { Pictured } from './picture.ts'
import type { Rev } from './store/store.ts'

/**
 * Since which revision an agent's labels are what they are: a renewed certificate and a new greeting change its rows
 * too, but not what it has to run.
 */
export interface LabelsKnown {
  /** 0: nothing is known of this agent. */
  since(agent: string): Rev
  /** The rows of this agent were written at `rev`. True: its labels are others than before, or it has joined anew. */
  look(agent: string, rev: Rev): boolean
}

interface Known {
  readonly enrolment: string
  readonly labels: Readonly<Record<string, string>>
  readonly hostLabels: Readonly<Record<string, string>>
  readonly since: Rev
}

export function openLabelsKnown(picture: Pick<Pictured, 'agents' | 'seen'>): LabelsKnown {
  const known = new Map<string, Known>()
  return {
    since: agent => known.get(agent)?.since ?? 0n,
    look(agent, rev) {
      const record = picture.agents.get(agent)?.value
      if (!record) return known.delete(agent)
      const before = known.get(agent)
      const enrolment = `${record.tokenId} ${record.enrolledAt}`
      const { labels } = record
      const hostLabels = picture.seen.get(agent)?.value.hostLabels ?? {}
      const same =
        before?.enrolment === enrolment &&
        equalLabels(before.labels, labels) &&
        equalLabels(before.hostLabels, hostLabels)
      if (!same) known.set(agent, { enrolment, labels, hostLabels, since: rev })
      return !same
    },
  }
}
