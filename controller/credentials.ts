import { type KeyObject, X509Certificate } from 'node:crypto'
import type { Authority } from '#identity/ca.ts'
import { readCsr } from '#identity/csr.ts'
import { fingerprintOf } from '#identity/keys.ts'
import { RelayError } from '#relay/errors.ts'
import { failureOf } from '#wire/failure.ts'
import type { Actor } from './actor.ts'
import type { Alerts } from './alerts.ts'
import type { Commit } from './commit.ts'
import type { ControllerConfig } from './config.ts'
import { type AgentRecord, keysWith, type OperatorRecord } from './records.ts'
import type { Condition, Op } from './store/store.ts'
import type { Tables } from './tables.ts'

export interface Signed {
  readonly certificatePem: string
  readonly authorityPem: string
  readonly key: { readonly hash: string; readonly notAfter: string }
  /** Holds while the key has not been revoked. */
  readonly alive: Condition
}

/** Certificates for agents and operators: of a request only the public key is taken. */
export interface Credentials {
  /** The hash of the key that a request asks a certificate for. Throws a RelayError `usage` for what is no request. */
  keyHash(csrDer: Uint8Array): string
  sign(kind: 'agent' | 'operator', name: string, csrDer: Uint8Array): Promise<Signed>
  /** A new certificate for one who is let in already; the old key stays good until its own certificate ends. */
  renew(by: Member, csrDer: Uint8Array): Promise<{ certificatePem: string; authorityPem: string }>
}

/** One who has a certificate already. */
type Member = Actor & { readonly kind: 'agent' | 'operator' }

interface Parts {
  readonly authority: Authority
  readonly commit: Commit
  readonly tables: Tables
  readonly lifetimes: ControllerConfig['certificates']
  readonly alerts: Alerts
}

export function openCredentials({ authority, commit, tables, lifetimes, alerts }: Parts): Credentials {
  async function sign(kind: 'agent' | 'operator', name: string, csrDer: Uint8Array): Promise<Signed> {
    const publicKey = keyOf(csrDer)
    const hash = fingerprintOf(publicKey)
    const { row } = await tables.deadKeys.get(hash)
    if (row) {
      alerts.raise(`${kind}/${name}`, {
        by: { kind, name, peer: '' },
        event: 'alert.dead-key',
        outcome: 'alert',
        target: `${kind}/${name}`,
        fields: { kind, name, of: row.value.name },
        words: 'a revoked key asked for a certificate',
      })
      throw new RelayError('revoked', {
        what: `certificate for ${kind}/${name}`,
        why: `this key was revoked with ${row.value.kind}/${row.value.name} at ${row.value.at}`,
        fix: 'Remove the old identity from the host, and join with a new token',
      })
    }
    const certificatePem = await authority
      .issue({ kind, name, publicKey, lifetimeMs: lifetimes[kind] })
      .catch(thrown => {
        throw failureOf(thrown, `certificate for ${kind}/${name}`)
      })
    const notAfter = new X509Certificate(certificatePem).validToDate.toISOString()
    const alive = tables.deadKeys.at(hash, 0n)
    return { certificatePem, authorityPem: authority.certificatePem, key: { hash, notAfter }, alive }
  }

  return {
    sign,
    keyHash: csrDer => fingerprintOf(keyOf(csrDer)),
    async renew(by, csrDer) {
      const { kind, name } = by
      for (;;) {
        const signed = await sign(kind, name, csrDer)
        const [condition, op] =
          kind === 'agent'
            ? await withKey(tables.agents, name, signed)
            : await withKey(tables.operators, name, signed)
        const done = await commit([condition, signed.alive], [op], {
          by,
          event: 'certificate.renewed',
          target: `${kind}/${name}`,
          fields: { kind, name, until: signed.key.notAfter },
          words: 'certificate renewed',
        })
        if (done === undefined) continue
        return { certificatePem: signed.certificatePem, authorityPem: signed.authorityPem }
      }
    },
  }
}

async function withKey<T extends AgentRecord | OperatorRecord>(
  people: {
    get(name: string): Promise<{ row?: { value: T; modRev: bigint } }>
    put(name: string, value: T): Op
    at(name: string, rev: bigint): Condition
  },
  name: string,
  { key }: Signed,
): Promise<[Condition, Op]> {
  const { row } = await people.get(name)
  if (!row || row.value.revoked) {
    throw new RelayError('revoked', {
      what: `certificate for ${name}`,
      why: 'it was revoked',
      fix: 'Ask an admin for a new token',
    })
  }
  return [
    people.at(name, row.modRev),
    people.put(name, { ...row.value, keys: keysWith(row.value.keys, key) }),
  ]
}

function keyOf(csr: Uint8Array): KeyObject {
  try {
    return readCsr(Buffer.from(csr)).publicKey
  } catch (thrown) {
    throw failureOf(thrown, 'read the certificate request')
  }
}
