import { z } from 'zod'
import { Receipt, Relay, Revocation } from '#gen/fleetcat/v1/relay.ts'
import type { Codec } from './store/table.ts'

/** What the controller keeps beside the nouns of the wire: who was let in, by which token, with which keys. */

/** The public keys that a name may use: SHA-256 of the SPKI, until the certificate made for it ends. */
const key = z.object({ hash: z.string(), notAfter: z.iso.datetime() })
const keys = z.array(key)
export type KeyRecord = z.infer<typeof key>

/** So many machines or renewals one name may have at a time; the oldest go first. */
const mostKeys = 16

/** These keys and one more, without those whose certificates have ended. */
export function keysWith(known: readonly KeyRecord[] = [], added: KeyRecord): KeyRecord[] {
  const now = Date.now()
  const living = known.filter(each => Date.parse(each.notAfter) > now && each.hash !== added.hash)
  return [...living, added].slice(-mostKeys)
}
const struckOff = z.object({ at: z.iso.datetime(), by: z.string(), reason: z.string() })
const labels = z.record(z.string(), z.string())

const agent = z.object({
  name: z.string(),
  labels,
  keys,
  enrolledAt: z.iso.datetime(),
  tokenId: z.string(),
  revoked: struckOff.optional(),
})
export type AgentRecord = z.infer<typeof agent>

export const roles = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof roles)[number]

const operator = z.object({
  name: z.string(),
  role: z.enum(roles),
  keys,
  enrolledAt: z.iso.datetime(),
  tokenId: z.string(),
  revoked: struckOff.optional(),
})
export type OperatorRecord = z.infer<typeof operator>

const token = z.object({
  id: z.string(),
  /** SHA-256 of the secret; the secret itself is nowhere. */
  hash: z.string(),
  kind: z.enum(['agent', 'operator']),
  /** Empty: the newcomer names itself, and may not take a name that is in use. */
  name: z.string(),
  labels,
  role: z.enum(roles).optional(),
  expiresAt: z.iso.datetime(),
  uses: z.int(),
  used: z.int(),
  /** By which keys, and for which names: an answer may be lost, and then the same key asks again. */
  usedBy: z.array(z.object({ hash: z.string(), name: z.string() })).default([]),
  createdBy: z.string(),
  createdAt: z.iso.datetime(),
  revoked: z.boolean(),
})
export type TokenRecord = z.infer<typeof token>

const cluster = z.object({ name: z.string(), epoch: z.int(), createdAt: z.iso.datetime() })
export type ClusterRecord = z.infer<typeof cluster>

const seen = z.object({ at: z.iso.datetime(), version: z.string(), hostLabels: labels })
/** When an agent was last heard, and what it said of itself: all that outlives a controller's restart. */
export type SeenRecord = z.infer<typeof seen>

const deadKey = z.object({
  kind: z.enum(['agent', 'operator']),
  name: z.string(),
  at: z.iso.datetime(),
  /** The end of its last certificate. */
  notAfter: z.iso.datetime().optional(),
})
export type DeadKeyRecord = z.infer<typeof deadKey>

const formerPlacement = z.object({ relayId: z.string(), agents: z.array(z.string()), selector: z.string() })
/**
 * How a relay was placed until the revision of this row. It stays until every agent that this chose has confirmed that
 * it knows: until then it may still run the relay, out of reach, and has to be asked when the relay is revoked.
 */
export type FormerPlacementRecord = z.infer<typeof formerPlacement>

const formerLabels = z.object({ agent: z.string(), labels })
/** The same of an agent: by which labels relays were chosen for it until the revision of this row. */
export type FormerLabelsRecord = z.infer<typeof formerLabels>

const applied = z.object({ revision: z.string().transform(BigInt) })
/** Up to where an agent has said that it runs what it was sent, and nothing else. */
export type AppliedRecord = z.infer<typeof applied>

const cursor = z.object({ seq: z.string().transform(BigInt) })
/** Up to which row of the audit log a collector has it. */
export type CursorRecord = z.infer<typeof cursor>

function json<T>(schema: z.ZodType<T>): Codec<T> {
  const plain = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value)
  return {
    encode: value => Buffer.from(JSON.stringify(value, plain)),
    decode: bytes => schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))),
  }
}

function message<T>(type: {
  encode(value: T): { finish(): Uint8Array }
  decode(bytes: Uint8Array): T
}): Codec<T> {
  return { encode: value => type.encode(value).finish(), decode: bytes => type.decode(bytes) }
}

/** Every kind of row there is: its prefix in the store, and how its value is written. */
export const rows = {
  cluster: { prefix: 'cluster/', codec: json(cluster) },
  relays: { prefix: 'relay/', codec: message(Relay) },
  agents: { prefix: 'agent/', codec: json(agent) },
  operators: { prefix: 'operator/', codec: json(operator) },
  tokens: { prefix: 'token/', codec: json(token) },
  seen: { prefix: 'seen/', codec: json(seen) },
  deadKeys: { prefix: 'dead-key/', codec: json(deadKey) },
  revocations: { prefix: 'revocation/', codec: message(Revocation) },
  /** Keyed `<revocation id>/<agent>`. */
  receipts: { prefix: 'receipt/', codec: message(Receipt) },
  /** Keyed `<relay id>/<hash of the placement>`. */
  formerPlacements: { prefix: 'former-placement/', codec: json(formerPlacement) },
  /** Keyed `<agent>/<hash of the labels>`. */
  formerLabels: { prefix: 'former-labels/', codec: json(formerLabels) },
  applied: { prefix: 'applied/', codec: json(applied) },
  /** Keyed by the collector: `tls://logs.example.com:6514`. */
  cursors: { prefix: 'audit-cursor/', codec: json(cursor) },
} as const
