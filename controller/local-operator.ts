import { localActor } from './actor.ts'
import type { Admission } from './admission.ts'
import type { Note } from './audit/note.ts'
import type { Commit } from './commit.ts'
import type { Credentials } from './credentials.ts'
import type { Mirror } from './mirror.ts'
import { type Role, roles } from './records.ts'

interface Order {
  readonly name: string
  readonly role: Role
  readonly csr: Uint8Array
}

export interface LocalOperator {
  /**
   * A certificate without a token, for the user who started this process: whoever can read the data directory holds
   * the key of the CA anyway, and a fleet whose admins all lost their certificates must not be lost with them.
   */
  issue(order: Order): Promise<{ certificatePem: string; authorityPem: string }>
  /** Whether a call with this key, by this name, would be let in with at least this role. */
  letsIn(order: { name: string; role: Role; keyHash: string }): boolean
}

export function openLocalOperator({
  credentials,
  admission,
  commit,
  mirror,
}: {
  credentials: Credentials
  admission: Admission
  commit: Commit
  mirror: Mirror
}): LocalOperator {
  return {
    letsIn({ name, role, keyHash }) {
      const record = mirror.operators.get(name)?.value
      if (!record || record.revoked || mirror.deadKeys.has(keyHash)) return false
      return (
        roles.indexOf(record.role) >= roles.indexOf(role) && record.keys.some(key => key.hash === keyHash)
      )
    },
    async issue({ name, role, csr }) {
      for (;;) {
        const signed = await credentials.sign('operator', name, csr)
        const { ifs, ops } = await admission.operator({ name, role, tokenId: 'local' }, signed)
        const revoked = mirror.operators.get(name)?.value.revoked
        const fields = { operator: name, role, until: signed.key.notAfter }
        const about = { by: localActor, target: `operator/${name}` }
        const note: Note = revoked
          ? {
              ...about,
              event: 'operator.reinstated',
              outcome: 'alert',
              fields: { ...fields, revokedBy: revoked.by, revokedAt: revoked.at },
              words:
                'an operator who was revoked is let in again: the user who runs this controller asked for it',
            }
          : { ...about, event: 'operator.let-in', fields, words: 'operator let in without a token' }
        if ((await commit(ifs, ops, note)) === undefined) continue
        return { certificatePem: signed.certificatePem, authorityPem: signed.authorityPem }
      }
    },
  }
}
