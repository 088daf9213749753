import type { EnrollRequest, EnrollResponse } from '#gen/fleetcat/v1/enrollment.ts'
import type { CreateTokenRequest, CreateTokenResponse, TokenView } from '#gen/fleetcat/v1/operator.ts'
import { checkName } from '#identity/name.ts'
import { hashSecret, mintToken, secretMatches } from '#identity/token.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { toMilliseconds } from '#wire/duration.ts'
import { failureOf } from '#wire/failure.ts'
import { checkLabel } from '#wire/labels.ts'
import type { Credentials } from './credentials.ts'
import { newId } from './ids.ts'
import type { Mirror } from './mirror.ts'
import { type AgentRecord, type OperatorRecord, type Role, roles, type TokenRecord } from './records.ts'
import type { Condition, Op, Store } from './store/store.ts'
import type { Tables } from './tables.ts'

/** Join tokens: how a newcomer gets its first certificate, once, soon, and under the name that was meant. */
export interface Tokens {
  create(request: CreateTokenRequest, by: string): Promise<CreateTokenResponse>
  list(): TokenView[]
  revoke(id: string): Promise<TokenView>
  redeem(request: EnrollRequest): Promise<EnrollResponse>
}

interface Parts {
  readonly cluster: string
  readonly store: Store
  readonly tables: Tables
  readonly mirror: Mirror
  readonly credentials: Credentials
  readonly log: Logger
  /** What goes into a token: where to find us, and the pin of our CA. */
  advertised(): { addresses: readonly string[]; pin: string }
}

const defaultTtlMs = 15 * 60_000
const longestTtlMs = 30 * 86_400_000

export function openTokens({ cluster, store, tables, mirror, credentials, log, advertised }: Parts): Tokens {
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
    const refused = (why: string) =>
      new RelayError('denied', {
        what: 'the join token',
        why,
        fix: 'Ask an admin for a new one: fleetcat token create',
      })
    if (!token || !secretMatches(secret, token.hash)) throw refused('the controller does not know it')
    if (token.revoked) throw refused('it was revoked')
    if (Date.parse(token.expiresAt) <= Date.now()) throw refused(`it expired at ${token.expiresAt}`)
    if (token.used >= token.uses)
      throw refused(token.uses === 1 ? 'it has been used' : `it has been used ${token.uses} times`)
    if (token.name && name && token.name !== name)
      throw refused(`it was made for the name \`${token.name}\`, not \`${name}\``)
  }

  function newcomer(token: TokenRecord, name: string, key: { hash: string; notAfter: string }) {
    const enrolled = { name, keys: [key], enrolledAt: new Date().toISOString(), tokenId: token.id }
    return { enrolled, labels: token.labels, role: token.role ?? 'operator' }
  }

  async function admission(token: TokenRecord, name: string, key: { hash: string; notAfter: string }) {
    const { enrolled, labels, role } = newcomer(token, name, key)
    if (token.kind === 'agent') {
      const { row } = await tables.agents.get(name)
      refuseTaken(token, name, row?.value)
      const record: AgentRecord = { ...enrolled, labels }
      return { condition: tables.agents.at(name, row?.modRev ?? 0n), op: tables.agents.put(name, record) }
    }
    const { row } = await tables.operators.get(name)
    // An operator may log in on several machines; each keeps its own key.
    const others = row?.value.revoked ? [] : (row?.value.keys ?? [])
    const record: OperatorRecord = { ...enrolled, role, keys: [...others, key].slice(-16) }
    return { condition: tables.operators.at(name, row?.modRev ?? 0n), op: tables.operators.put(name, record) }
  }

  return {
    async create(request, by) {
      const { kind, role, uses, ttlMs } = check(request)
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
        createdBy: by,
        createdAt: new Date(now).toISOString(),
        revoked: false,
      }
      await store.txn([tables.tokens.at(id, 0n)], [tables.tokens.put(id, record)])
      log.info(
        { event: 'token.created', id, kind, name: request.name, by, expiresAt: record.expiresAt },
        'join token made',
      )
      return { token: text, view: view(record) }
    },

    list: () => [...mirror.tokens.values()].map(({ value }) => view(value)),

    async revoke(id) {
      for (;;) {
        const row = await load(id)
        if (!row)
          throw new RelayError('not-found', {
            what: `token ${id}`,
            why: 'there is none of this id',
            fix: '`fleetcat token list` shows them',
          })
        const record = { ...row.value, revoked: true }
        const result = await store.txn([tables.tokens.at(id, row.modRev)], [tables.tokens.put(id, record)])
        if (result.ok) return view(record)
      }
    },

    async redeem(request) {
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
        const signed = await credentials.sign(token.kind, name, request.csrDer)
        const { condition, op } = await admission(token, name, signed.key)
        const ifs: Condition[] = [tables.tokens.at(token.id, row?.modRev ?? 0n), condition, signed.alive]
        const ops: Op[] = [op, tables.tokens.put(token.id, { ...token, used: token.used + 1 })]
        const result = await store.txn(ifs, ops)
        if (!result.ok) continue // somebody else used it in between: look again
        await mirror.caughtUp(result.rev)
        log.info({ event: 'enrolled', kind: token.kind, name, tokenId: token.id }, 'enrolled')
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

function named(name: string): void {
  try {
    checkName(name)
  } catch (thrown) {
    throw failureOf(thrown, `name ${name}`)
  }
}

/** A token without a name lets a newcomer choose one, but not somebody else's. */
function refuseTaken(token: TokenRecord, name: string, taken: AgentRecord | undefined): void {
  if (!taken || token.name === name) return
  throw new RelayError('conflict', {
    what: `agent/${name}`,
    why: 'an agent of this name has joined already, and the token was not made for this name',
    fix: `Choose another --name, or let the host join anew: fleetcat token create agent --name ${name}`,
  })
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
