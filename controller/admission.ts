import { RelayError } from '#relay/errors.ts'
import type { Signed } from './credentials.ts'
import type { Former } from './former.ts'
import { labelsOfAgent } from './labels.ts'
import { type KeyRecord, keysWith, type Role } from './records.ts'
import type { Condition, Op } from './store/store.ts'
import type { Tables } from './tables.ts'

/** What a transaction needs so that a freshly signed key is let in under a name. */
export interface Admitted {
  readonly ifs: readonly Condition[]
  readonly ops: readonly Op[]
}

export interface Admission {
  /** A host: whatever key had the name before is out, unless it is `again` the same enrolment. */
  agent(
    newcomer: { name: string; labels: Record<string, string>; tokenId: string },
    may: { takeOver: boolean; again: boolean },
    signed: Signed,
  ): Promise<Admitted>
  /** A person: may log in on several machines, and each keeps its own key. */
  operator(newcomer: { name: string; role: Role; tokenId: string }, signed: Signed): Promise<Admitted>
}

export function openAdmission(tables: Tables, former: Former): Admission {
  return {
    async agent({ name, labels, tokenId }, { takeOver, again }, { key, alive }) {
      const { row } = await tables.agents.get(name)
      if (again && row?.value.tokenId !== tokenId) throw replaced(name)
      if (row && !takeOver && !again) throw taken(name)
      const enrolledAt = (again && row?.value.enrolledAt) || new Date().toISOString()
      const keys = again ? keysWith(row?.value.keys, key) : [key]
      const { row: seen } = await tables.seen.get(name)
      const relabelling =
        row && seen
          ? former.labelsOps(
              name,
              labelsOfAgent(row.value.labels, seen.value.hostLabels),
              labelsOfAgent(labels, seen.value.hostLabels),
            )
          : []
      return {
        ifs: [
          tables.agents.at(name, row?.modRev ?? 0n),
          // What the host says of itself is half of the labels that are kept as former ones.
          tables.seen.at(name, seen?.modRev ?? 0n),
          alive,
        ],
        ops: [tables.agents.put(name, { name, labels, keys, enrolledAt, tokenId }), ...relabelling],
      }
    },
    async operator({ name, role, tokenId }, { key, alive }) {
      const { row } = await tables.operators.get(name)
      const others: readonly KeyRecord[] = row?.value.revoked ? [] : (row?.value.keys ?? [])
      const record = {
        name,
        role,
        keys: keysWith(others, key),
        enrolledAt: new Date().toISOString(),
        tokenId,
      }
      return {
        ifs: [tables.operators.at(name, row?.modRev ?? 0n), alive],
        ops: [tables.operators.put(name, record)],
      }
    },
  }
}

/** A token without a name lets a newcomer choose one, but not somebody else's. */
function taken(name: string): RelayError {
  return new RelayError('conflict', {
    what: `agent/${name}`,
    why: 'an agent of this name has joined already, and the token was not made for this name',
    fix: `Choose another --name, or let the host join anew: fleetcat token create agent --name ${name}`,
  })
}

function replaced(name: string): RelayError {
  return new RelayError('denied', {
    what: 'the join token',
    why: `it has been used, and agent/${name} has joined with a later one since`,
    fix: 'Ask an admin for a new one: fleetcat token create',
  })
}
