import type { Parts } from './parts.ts'
import type { OperatorRecord, Role } from './records.ts'
import type { Tables } from './tables.ts'

interface Order {
  readonly name: string
  readonly role: Role
  readonly csr: Uint8Array
}

/**
 * A certificate without a token, for the user who started this process: whoever can read the data directory holds the
 * key of the CA anyway, and a fleet whose admins all lost their certificates must not be lost with them.
 */
export async function issueLocally(
  { credentials, store, mirror }: Parts,
  tables: Tables,
  { name, role, csr }: Order,
) {
  for (;;) {
    const { row } = await tables.operators.get(name)
    const signed = await credentials.sign('operator', name, csr)
    const now = Date.now()
    const living = row?.value.revoked
      ? []
      : (row?.value.keys ?? []).filter(key => Date.parse(key.notAfter) > now)
    const record: OperatorRecord = {
      name,
      role,
      keys: [...living, signed.key].slice(-16),
      enrolledAt: row?.value.enrolledAt ?? new Date(now).toISOString(),
      tokenId: row?.value.tokenId ?? 'local',
    }
    const result = await store.txn(
      [tables.operators.at(name, row?.modRev ?? 0n)],
      [tables.operators.put(name, record)],
    )
    if (!result.ok) continue
    await mirror.caughtUp(result.rev)
    return { certificatePem: signed.certificatePem, authorityPem: signed.authorityPem }
  }
}
