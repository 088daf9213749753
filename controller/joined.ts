import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import type { Mirror } from './mirror.ts'

/** Throws a RelayError unless an agent of each of these names has joined, and was not revoked. */
export function checkJoined(mirror: Mirror, agents: readonly string[]): void {
  for (const agent of agents) {
    const record = mirror.agents.get(agent)?.value
    if (!record) {
      const near = nearest(agent, [...mirror.agents.keys()])
      throw new RelayError('not-found', {
        what: `agent/${agent}`,
        why: 'no agent of this name has joined',
        fix: near ? `Did you mean \`${near}\`?` : '`fleetcat agents` lists those that have',
      })
    }
    if (record.revoked) {
      throw new RelayError('revoked', {
        what: `agent/${agent}`,
        why: `it was revoked by ${record.revoked.by}`,
      })
    }
  }
}
