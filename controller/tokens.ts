import type { EnrollRequest, EnrollResponse } from '#gen/fleetcat/v1/enrollment.ts'
import type { CreateTokenRequest, CreateTokenResponse, TokenView } from '#gen/fleetcat/v1/operator.ts'
import { checkName } from '#identity/name.ts'
import { hashSecret, mintToken, secretMatches } from '#identity/token.ts'
import { RelayError } from '#relay/errors.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { failureOf } from '#wire/failure.ts'
import { checkLabel } from '#wire/labels.ts'
import type { Actor } from './actor.ts'
import type { Admission } from './admission.ts'
import type { Commit } from './commit.ts'
import type { Credentials, Signed } from './credentials.ts'
import { newId } from './ids.ts'
import type { Locks } from './locks.ts'
import type { Mirror } from './mirror.ts'
import { type Role, roles, type TokenRecord } from './records.ts'
import type { Tables } from './tables.ts'

/** Join tokens: how a newcomer gets its first certificate, once, soon, and under the name that was meant. */
export interface Tokens {
  create(request: CreateTokenRequest, by: Actor): Promise<CreateTokenResponse>
  list(): TokenView[]
  revoke(id: string, by: Actor): Promise<TokenView>
  /** `peer`: where the newcomer asks from. */
  redeem(request: EnrollRequest, peer: string): Promise<EnrollResponse>
}

interface Parts {
  readonly cluster: string
  readonly commit: Commit
  readonly tables: Tables
  readonly mirror: Mirror
  readonly credentials: Credentials
  readonly admission: Admission
  readonly locks: Locks
  /** What goes into a token: where to find us, and the pin of our CA. */
  advertised(): { addresses: readonly string[]; pin: string }
}

const defaultTtlMs = 15 * 60_000
const longestTtlMs = 30 * 86_400_000

export function openTokens({
  cluster,
  commit,
  tables,
  mirror,
  credentials,
  admission,
  locks,
  advertised,
}: Parts): Tokens {
  function check(request: CreateTokenRequest): {
    kind: TokenRecord['kind']
    role?: Role
    uses: number
    ttlMs: number
  } {
    const what = `token for ${request.kind}`
    const usage = (why: string, fix?: string) => new RelayError('usage', { what, why, fix })
    if (request.kind !== 'agent' && request.kind !== 'operator')
      throw usage('a token is for an agent or an operator')
    if (request.name) named(request.name)
    const uses = request.uses || 1
    if (uses > 1 && request.name && request.kind === 'agent') {
      throw usage('a token with a name serves one agent only', 'Leave out --name, or --uses')
    }
    const ttlMs = request.ttl ? toMilliseconds(request.ttl) : defaultTtlMs
    if (ttlMs < 1_000 || ttlMs > longestTtlMs) throw usage('a token lives between 1 second and 30 days')
    for (const [name, value] of Object.entries(request.labels)) checkLabel(name, value)
    if (request.kind === 'agent') {
      if (request.role) throw usage('an agent has no role', 'Leave out --role')
      return { kind: 'agent', uses, ttlMs }
    }
    if (Object.keys(request.labels).length > 0) throw usage('an operator has no labels', 'Leave out --label')
    if (!request.name) throw usage('an operator needs a name', 'Add --name NAME')
    const role = roles.find(each => each === (request.role || 'operator'))
    if (!role) throw usage(`there is no role \`${request.role}\``, `The roles are ${roles.join(', ')}`)
    return { kind: 'operator', role, uses, ttlMs }
  }

  async function load(id: string) {
    const { row } = await tables.tokens.get(id)
    return row
  }

  /** Throws when this token does not serve this newcomer; says as little as it can to one without the secret. */
  function examine(
    token: TokenRecord | undefined,
    { secret, name }: EnrollRequest,
  ): asserts token is TokenRecord {
    if (!token || !secretMatches(secret, token.hash)) throw refused('the controller does not know it')
    if (token.revoked) throw refused('it was revoked')
    if (Date.parse(token.expiresAt) <= Date.now()) throw refused(`it expired at ${token.expiresAt}`)
    if (token.name && name && token.name !== name)
      throw refused(`it was made for the name \`${token.name}\`, not \`${name}\``)
  }

  /** Throws when it is used up. True: this very key has used it for this name, and its answer may have been lost. */
  function usedAlready(token: TokenRecord, name: string, keyHash: string): boolean {
    if (token.usedBy.some(use => use.hash === keyHash && use.name === name)) return true
    if (token.used < token.uses) return false
    throw refused(token.uses === 1 ? 'it has been used' : `it has been used ${token.uses} times`)
  }

  async function admitted(token: TokenRecord, name: string, again: boolean, signed: Signed) {
    const { kind, labels, role = 'operator', id: tokenId } = token
    return kind === 'agent'
      ? admission.agent({ name, labels, tokenId }, { takeOver: token.name === name, again }, signed)
      : admission.operator({ name, role, tokenId }, signed)
  }

  return {
    async create(request, by) {
      const { kind, role, uses, ttlMs } = check(request)
      if (request.name) locks.check(`${kind}/${request.name}`)
      const id = newId('t')
      const { text, secret } = mintToken({ id, kind, ...advertised() })
      const now = Date.now()
      const record: TokenRecord = {
        id,
        hash: hashSecret(secret),
        kind,
        name: request.name,
        labels: request.labels,
        ...(role && { role }),
        expiresAt: new Date(now + ttlMs).toISOString(),
        uses,
        used: 0,
        usedBy: [],
        createdBy: by.name,
        createdAt: new Date(now).toISOString(),
        revoked: false,
      }
      const { name, labels, expiresAt } = record
      const done = await commit([tables.tokens.at(id, 0n)], [tables.tokens.put(id, record)], {
        by,
        event: 'token.created',
        target: `token/${id}`,
        fields: { id, tokenFor: kind, name, role, labels, uses, expiresAt },
        words: 'join token made',
      })
      if (done === undefined) {
        throw new RelayError('internal', { what: `token ${id}`, why: 'its random id is taken' })
      }
      return { token: text, view: view(record) }
    },

    list: () => [...mirror.tokens.values()].map(({ value }) => view(value)),

    async revoke(id, by) {
      for (;;) {
        const row = await load(id)
        if (!row)
          throw new RelayError('not-found', {
            what: `token ${id}`,
            why: 'there is none of this id',
            fix: '`fleetcat token list` shows them',
          })
        if (row.value.revoked) return view(row.value)
        const record = { ...row.value, revoked: true }
        const done = await commit([tables.tokens.at(id, row.modRev)], [tables.tokens.put(id, record)], {
          by,
          event: 'token.revoked',
          target: `token/${id}`,
          fields: { id, tokenFor: record.kind, name: record.name },
          words: 'join token revoked',
        })
        if (done !== undefined) return view(record)
      }
    },

    async redeem(request, peer) {
      for (;;) {
        const row = await load(request.tokenId)
        examine(row?.value, request)
        const token = row?.value as TokenRecord
        const name = token.name || request.name
        if (!name)
          throw new RelayError('usage', {
            what: 'enrolment',
            why: 'neither the token nor the newcomer says a name',
            fix: 'Add --name NAME',
          })
        named(name)
        locks.check(`${token.kind}/${name}`)
        const again = usedAlready(token, name, credentials.keyHash(request.csrDer))
        const signed = await credentials.sign(token.kind, name, request.csrDer)
        const { ifs, ops } = await admitted(token, name, again, signed)
        const use = { hash: signed.key.hash, name }
        const used = again ? token : { ...token, used: token.used + 1, usedBy: [...token.usedBy, use] }
        const done = await commit(
          [tables.tokens.at(token.id, row?.modRev ?? 0n), ...ifs],
          [...ops, tables.tokens.put(token.id, used)],
          {
            by: { kind: token.kind, name, peer },
            event: 'enrolled',
            target: `${token.kind}/${name}`,
            fields: {
              kind: token.kind,
              name,
              role: token.role,
              tokenId: token.id,
              again,
              until: signed.key.notAfter,
            },
            words: 'enrolled',
          },
        )
        if (done === undefined) continue // somebody else used it in between: look again
        return {
          cluster,
          name,
          certificatePem: signed.certificatePem,
          authorityPem: signed.authorityPem,
          labels: token.labels,
          role: token.role ?? '',
        }
      }
    },
  }
}

function refused(why: string): RelayError {
  return new RelayError('denied', {
    what: 'the join token',
    why,
    fix: 'Ask an admin for a new one: fleetcat token create',
  })
}

function named(name: string): void {
  try {
    checkName(name)
  } catch (thrown) {
    throw failureOf(thrown, `name ${name}`)
  }
}

function view(token: TokenRecord): TokenView {
  return {
    id: token.id,
    kind: token.kind,
    name: token.name,
    labels: token.labels,
    role: token.role ?? '',
    expiresAt: new Date(token.expiresAt),
    uses: token.uses,
    used: token.used,
    createdBy: token.createdBy,
    createdAt: new Date(token.createdAt),
    revoked: token.revoked,
  }
}
