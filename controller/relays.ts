import { ChangeKind, type RelayChange, type RelayDraft } from '#gen/fleetcat/v1/operator.ts'
import { type Relay, RelayLimits, RelaySpec } from '#gen/fleetcat/v1/relay.ts'
import type { Duration } from '#gen/google/protobuf/duration.ts'
import { bindAll, checkProvesSources } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { parseCidr } from '#relay/ip.ts'
import { checkBanRule } from '#wire/ban-rule.ts'
import { limitMs, toDuration, toMilliseconds } from '#wire/duration.ts'
import { checkFlow } from '#wire/flow.ts'
import { checkLabel } from '#wire/labels.ts'
import { leaseMs, longestLeaseMs, shortestLeaseMs } from '#wire/lease.ts'
import { checkSharing } from '#wire/sharing.ts'
import { parseWindows } from '#wire/window.ts'
import type { Actor } from './actor.ts'
import type { Note } from './audit/note.ts'
import type { Caps } from './caps.ts'
import type { Commit } from './commit.ts'
import { expiryFromNow } from './expiry.ts'
import type { Former } from './former.ts'
import { newId } from './ids.ts'
import { checkJoined } from './joined.ts'
import { equalLabels } from './labels.ts'
import type { Locks } from './locks.ts'
import type { Mirror } from './mirror.ts'
import { parseSelector } from './selector.ts'
import type { Op } from './store/store.ts'
import type { Row } from './store/table.ts'
import type { Tables } from './tables.ts'

/** Creating and changing relays: a draft is checked whole before anything is written. */
export interface Relays {
  create(
    draft: RelayDraft | undefined,
    by: Actor,
    requestId: string,
    dryRun: boolean,
  ): Promise<{ relay: Relay; unchanged: boolean }>
  /** One relay as `apply` wants it: made, changed or left alone. */
  apply(draft: RelayDraft, by: Actor, requestId: string, dryRun: boolean): Promise<RelayChange>
}

const relayName = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/

export function openRelays({
  commit,
  tables,
  mirror,
  former,
  locks,
  caps,
}: {
  commit: Commit
  tables: Tables
  mirror: Mirror
  former: Former
  locks: Locks
  caps: Caps
}): Relays {
  function check(draft: RelayDraft | undefined): { draft: RelayDraft; spec: RelaySpec } {
    if (!draft?.spec) throw new RelayError('usage', { what: 'relay', why: 'it has no spec' })
    const what = `relay/${draft.name}`
    const spec = RelaySpec.fromPartial({
      ...draft.spec,
      limits: RelayLimits.fromPartial(draft.spec.limits ?? {}),
    })
    if (!relayName.test(draft.name)) {
      throw new RelayError('usage', {
        what: `relay name \`${draft.name}\``,
        why: 'a name has 1 to 63 small letters, digits, `-` or `.`, and begins and ends with a letter or digit',
      })
    }
    for (const [name, value] of Object.entries(draft.labels)) checkLabel(name, value, { host: true })
    if (spec.targets.length === 0) throw new RelayError('usage', { what, why: 'it has no target address' })
    bindAll(spec)
    checkSharing(what, spec)
    checkFlow(what, spec)
    checkAgents(what, spec)
    checkLimits(what, spec)
    checkLease(what, spec)
    checkTtl(what, spec)
    parseWindows(spec.windows)
    caps(what, spec)
    return { draft, spec }
  }

  function checkAgents(what: string, spec: RelaySpec): void {
    if (spec.agents.length > 0 && spec.selector) {
      throw new RelayError('usage', {
        what,
        why: 'it has both agents and a selector',
        fix: 'Name the agents with --on, or choose them by label with -l',
      })
    }
    if (spec.agents.length === 0 && !spec.selector) {
      throw new RelayError('usage', {
        what,
        why: 'it says neither which agents run it nor a selector that finds them',
        fix: `Add --on ${[...mirror.agents.keys()][0] ?? 'AGENT'}, or -l SELECTOR`,
      })
    }
    parseSelector(spec.selector)
    checkJoined(mirror, spec.agents)
  }

  /** In the place of `before`, which it is the same as, or which is over. */
  async function write(relay: Relay, before: Row<Relay> | undefined, by: Actor): Promise<boolean> {
    const isSame = before?.value.id === relay.id
    const done = await commit(
      [tables.relays.at(relay.name, before?.modRev ?? 0n)],
      [tables.relays.put(relay.name, relay), ...placementOps(before?.value, relay)],
      noteOf(by, isSame ? 'changed' : 'created', relay),
    )
    return done !== undefined
  }

  function placementOps(before: Relay | undefined, relay: Relay): Op[] {
    if (!before) return []
    return before.id === relay.id ? former.placementOps(before, relay) : former.relayOps(before.id)
  }

  async function current(name: string) {
    const { row } = await tables.relays.get(name)
    return row
  }

  function fresh({ draft, spec }: ReturnType<typeof check>, by: Actor, requestId: string): Relay {
    return {
      name: draft.name,
      id: newId('r'),
      generation: 1n,
      labels: draft.labels,
      createdAt: new Date(),
      createdBy: by.name,
      reason: draft.reason,
      spec,
      requestId,
      longestLease: toDuration(leaseMs(spec)),
      expiresAt: expiryFromNow({ spec }),
      expiredAt: undefined,
    }
  }

  return {
    async create(given, by, requestId, dryRun) {
      const checked = check(given)
      const made = fresh(checked, by, requestId)
      for (;;) {
        const row = await current(made.name)
        const there = row?.value
        if (!there || there.expiredAt) {
          locks.check(`relay/${made.name}`)
          if (dryRun || (await write(made, row, by))) return { relay: made, unchanged: false }
          continue // somebody took the name in between: look again
        }
        const repeated = requestId !== '' && there.requestId === requestId
        if (equalSpecs(there, made)) return { relay: there, unchanged: !repeated }
        throw new RelayError('conflict', {
          what: `relay/${made.name}`,
          why: 'a relay of this name is there already, and it is not the same',
          fix: `\`fleetcat describe relay/${made.name}\` shows it; \`fleetcat apply\` changes it`,
        })
      }
    },

    async apply(given, by, requestId, dryRun) {
      const checked = check(given)
      for (;;) {
        const row = await current(given.name)
        const before = row?.value
        const made = fresh(checked, by, requestId)
        if (!before) {
          locks.check(`relay/${made.name}`)
          if (dryRun || (await write(made, undefined, by))) return change(ChangeKind.CREATED, undefined, made)
          continue
        }
        if (equalSpecs(before, made) && !before.expiredAt) return change(ChangeKind.UNCHANGED, before, before)
        const isGivenTime = before.expiredAt !== undefined || !sameTtl(before, made)
        const after: Relay = {
          ...before,
          generation: before.generation + (sameSpec(before, made) && !isGivenTime ? 0n : 1n),
          labels: made.labels,
          reason: made.reason || before.reason,
          spec: made.spec,
          requestId,
          longestLease: longer(before.longestLease, made.longestLease),
          expiresAt: isGivenTime ? made.expiresAt : before.expiresAt,
          expiredAt: undefined,
        }
        if (dryRun || (await write(after, row, by))) return change(ChangeKind.UPDATED, before, after)
      }
    },
  }
}

function noteOf(by: Actor, what: 'created' | 'changed', relay: Relay): Note {
  const { name, id, generation, reason, spec, expiresAt } = relay
  const { listen, targets, agents, selector } = spec ?? RelaySpec.fromPartial({})
  return {
    by,
    event: `relay.${what}`,
    target: `relay/${name}`,
    reason,
    fields: { relay: name, id, generation, listen, targets, agents, selector, expiresAt },
    words: `relay ${what}`,
  }
}

function longer(a: Duration | undefined, b: Duration | undefined): Duration {
  return toDuration(Math.max(leaseMs({ lease: a }), leaseMs({ lease: b })))
}

function checkLease(what: string, { lease }: RelaySpec): void {
  if (!lease) return
  const ms = toMilliseconds(lease)
  if (ms >= shortestLeaseMs && ms <= longestLeaseMs) return
  throw new RelayError('usage', { what, why: 'a lease lasts between 5 seconds and 24 hours' })
}

const shortestTtlMs = 1_000
const longestTtlMs = 10 * 365 * 86_400_000

function checkTtl(what: string, { ttl }: RelaySpec): void {
  if (!ttl) return
  const ms = toMilliseconds(ttl)
  if (ms >= shortestTtlMs && ms <= longestTtlMs) return
  const why = 'the time of a relay is between one second and ten years'
  throw new RelayError('usage', { what, why, fix: 'Write for example --ttl 2h, or leave it out' })
}

const sameTtl = (a: Relay, b: Relay) => limitMs(a.spec?.ttl) === limitMs(b.spec?.ttl)

function change(kind: ChangeKind, before: Relay | undefined, after: Relay): RelayChange {
  return { kind, name: after.name, before, after, revocationId: '' }
}

function equalSpecs(a: Relay, b: Relay): boolean {
  return sameSpec(a, b) && equalLabels(a.labels, b.labels)
}

/** Equal when their bytes are: the encoding of one message by one build is always the same. */
function sameSpec(a: Relay, b: Relay): boolean {
  return Buffer.from(canonical(a)).equals(canonical(b))
}

function canonical({ spec }: Relay): Uint8Array {
  const { agents = [], ...rest } = spec ?? {}
  return RelaySpec.encode(RelaySpec.fromPartial({ ...rest, agents: [...new Set(agents)].sort() })).finish()
}

function checkLimits(what: string, { listen, limits }: RelaySpec): void {
  if (!limits) return
  if (limits.ban) {
    checkProvesSources(listen)
    checkBanRule(what, limits.ban)
  }
  for (const cidr of [...limits.allowFrom, ...limits.denyFrom]) parseCidr(cidr)
  if (!Number.isFinite(limits.ratePerSecond) || limits.ratePerSecond < 0) {
    throw new RelayError('usage', { what, why: 'the rate must be a positive number of connections a second' })
  }
  for (const [name, duration] of [
    ['idle timeout', limits.idleTimeout] as const,
    ['connection age', limits.maxConnectionAge] as const,
  ]) {
    if (duration && limitMs(duration) === undefined && (duration.seconds !== 0n || duration.nanos !== 0)) {
      throw new RelayError('usage', { what, why: `the ${name} must be positive` })
    }
  }
}
