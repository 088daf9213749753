import type { RevokeOrder } from '#gen/fleetcat/v1/agent.ts'
import type { LiftRequest, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { type Receipt, Revocation } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { limitMs, toDuration, toMilliseconds } from '#wire/duration.ts'
import { type Actor, signatureOf } from './actor.ts'
import type { Note } from './audit/note.ts'
import type { Commit } from './commit.ts'
import { newId } from './ids.ts'
import { holds } from './locks.ts'
import type { Mirror } from './mirror.ts'
import type { Plan, Revocable } from './revocable.ts'
import type { Op } from './store/store.ts'
import type { Tables } from './tables.ts'
import { canonicalTarget, parseTarget, type TargetKind } from './target.ts'
import { isStoreDown, type Unsaved } from './unsaved.ts'

/** An order to cut, as somebody gives it. What it leaves out is absent or empty. */
export type Order = Partial<RevokeRequest> & Pick<RevokeRequest, 'target' | 'reason'>

/** Orders to cut: on disk before they are answered, and kept when what they name is gone. */
export interface Revocations {
  /**
   * With `urgent` it is in effect though the store cannot write it now: see `Unsaved`, which then has its id. Otherwise
   * that is an error, and nothing is done.
   */
  revoke(
    order: Order,
    by: Actor,
    how?: { urgent: boolean },
  ): Promise<{ revocation: Revocation; unchanged: boolean }>
  /** What a revocation shuts out may come back. */
  lift(request: LiftRequest, by: Actor): Promise<{ revocation: Revocation; unchanged: boolean }>
  /** The orders to which this agent has sent no receipt. */
  pendingFor(agent: string): RevokeOrder[]
  orderOf(revocation: Revocation, agent: string): RevokeOrder
  /** An agent's word that it is done. Passed over when it was never asked of that agent: false. */
  noteReceipt(agent: Actor, receipt: Receipt): Promise<boolean>
  /** It was revoked, and has confirmed that. */
  hasLeft(agent: string): boolean
}

interface Parts {
  readonly commit: Commit
  readonly tables: Tables
  readonly mirror: Mirror
  readonly revocable: Revocable
  readonly unsaved: Unsaved
  readonly log: Logger
}

const longestLockMs = 10 * 365 * 86_400_000

/** For how long something is shut out, and why. A source without a lock is for ever. */
interface Terms {
  readonly lockMs: number | undefined
  readonly reason: string
}

/** The same order on these terms, if they last longer than those on which it was given. */
function prolonged(before: Revocation, { lockMs, reason }: Terms): Revocation | undefined {
  const isSource = parseTarget(before.target).kind === 'source'
  const isForEver = isSource && !before.lockUntil
  if (lockMs === undefined && (isForEver || !isSource)) return undefined
  const lockUntil = lockMs === undefined ? undefined : new Date(Date.now() + lockMs)
  const isShorter = lockUntil && (isForEver || (before.lockUntil?.getTime() ?? 0) >= lockUntil.getTime())
  if (holds(before) && isShorter) return undefined
  return { ...before, lockUntil, liftedAt: undefined, liftedBy: '', reason: reason || before.reason }
}

export function openRevocations({ commit, tables, mirror, revocable, unsaved, log }: Parts): Revocations {
  /** Other labels may have brought the relay to one more agent between the plan and the order. */
  async function widened(revocation: Revocation, late: readonly string[], by: Actor): Promise<Revocation> {
    const agents = [...new Set([...revocation.agents, ...late])]
    if (agents.length === revocation.agents.length) return revocation
    const wider = { ...revocation, agents }
    await commit([], [tables.revocations.put(revocation.id, wider)], {
      by,
      event: 'revocation.widened',
      target: revocation.target,
      fields: { id: revocation.id, agents: agents.length },
      words: 'more agents are asked',
    })
    return wider
  }

  function newest(fits: (revocation: Revocation) => boolean): Revocation | undefined {
    let last: Revocation | undefined
    for (const { value } of mirror.revocations.values()) {
      if (fits(value) && (!last || (value.at?.getTime() ?? 0) > (last.at?.getTime() ?? 0))) last = value
    }
    return last
  }

  function check(kind: TargetKind, { target, lock, relays = [], except = [] }: Order): number | undefined {
    const usage = (why: string, fix: string) =>
      new RelayError('usage', { what: `revoke ${target}`, why, fix })
    const lockMs = limitMs(lock)
    if (lock && (lockMs === undefined || lockMs < 1_000 || lockMs > longestLockMs))
      throw usage('a lock lasts between one second and ten years', 'Write for example --lock 24h')
    if (lock && kind === 'conn')
      throw usage('a connection has no name to lock', 'Lock its source: fleetcat revoke source/IP --lock 24h')
    if (kind !== 'source' && relays.length + except.length > 0)
      throw usage(
        '--relay and --except are about sources',
        'Name a source: fleetcat revoke source/10.0.0.0/8',
      )
    return lockMs
  }

  /** The same is revoked already: at most it is shut out for longer. */
  async function repeated(before: Revocation, terms: Terms, by: Actor) {
    const { row } = await tables.revocations.get(before.id)
    const locked = row && prolonged(row.value, terms)
    if (!locked) return { revocation: before, unchanged: true }
    const done = await commit(
      [tables.revocations.at(row.name, row.modRev)],
      [tables.revocations.put(row.name, locked)],
      {
        by,
        event: 'locked',
        target: locked.target,
        reason: terms.reason,
        fields: { target: locked.target, id: locked.id, until: locked.lockUntil },
        words: 'locked for longer',
      },
    )
    if (done === undefined) return undefined
    return { revocation: locked, unchanged: false }
  }

  /** In effect now, and on disk when the store can: what is cut late is worse than what is written late. */
  function cutFirst({ id, target }: Revocation, ops: Op[], attempt: () => Promise<boolean>, error: unknown) {
    log.error(
      { event: 'revocation.not-durable', id, target, error },
      'a revocation is in effect, but not on disk; it is written as soon as the store can',
    )
    unsaved.add(id, ops, attempt)
  }

  /** Much may have changed since it was given, so what has to be written with it is worked out anew. */
  async function written(revocation: Revocation, order: RevokeRequest, by: Actor): Promise<boolean> {
    const { kind, name } = parseTarget(revocation.target)
    const plan = await revocable.plan(kind, name, order, by)
    const own = plan?.targetId === revocation.targetId ? plan : { ifs: [], ops: [] }
    const ops = [...own.ops, tables.revocations.put(revocation.id, revocation)]
    const note = noteOf(revocation, by)
    const late = {
      ...note,
      fields: { ...note.fields, at: revocation.at },
      words: 'revoked; on disk only now',
    }
    return (await commit(own.ifs, ops, late)) !== undefined
  }

  /** A source that is shut out of the same relays, with the same exceptions. */
  function sameBan(target: string, plan: Plan, except: readonly string[]): Revocation | undefined {
    const set = (items: readonly string[]) => [...items].sort().join()
    return newest(
      before =>
        before.target === target &&
        holds(before) &&
        set(before.relayIds) === set(plan.relayIds ?? []) &&
        set(before.except) === set(except),
    )
  }

  return {
    async revoke(given, by, { urgent } = { urgent: false }) {
      const target = canonicalTarget(given.target)
      const { kind, name } = parseTarget(target)
      const order = {
        relays: [],
        except: [],
        requestId: '',
        dryRun: false,
        lock: undefined,
        ...given,
        target,
      }
      const lockMs = check(kind, order)
      const { reason, requestId, dryRun, except } = order
      if (requestId) {
        const asked = newest(each => each.target === target && each.requestId === requestId)
        if (asked) return { revocation: asked, unchanged: false }
      }
      for (;;) {
        const plan = await revocable.plan(kind, name, order, by)
        const before = plan
          ? kind === 'source'
            ? sameBan(target, plan, except)
            : undefined
          : newest(each => each.target === target)
        if (before) {
          if (dryRun) {
            const locked = prolonged(before, { lockMs, reason })
            return { revocation: locked ?? before, unchanged: !locked }
          }
          const done = await repeated(before, { lockMs, reason }, by)
          if (done) return done
          continue
        }
        if (!plan) throw revocable.unknown(kind, name)
        const planned = mirror.rev
        let revocation = Revocation.fromPartial({
          id: newId('v'),
          target,
          targetId: plan.targetId,
          at: new Date(),
          by: signatureOf(by),
          automatic: by.kind === 'agent',
          reason,
          agents: plan.agents,
          requestId,
          longestLease: toDuration(plan.leaseMs),
          lockUntil: lockMs === undefined ? undefined : new Date(Date.now() + lockMs),
          relayIds: plan.relayIds ?? [],
          except: [...except],
        })
        if (dryRun) return { revocation, unchanged: false }
        const ops = [...plan.ops, tables.revocations.put(revocation.id, revocation)]
        try {
          if ((await commit(plan.ifs, ops, noteOf(revocation, by))) === undefined) continue
        } catch (thrown) {
          if (!urgent || !isStoreDown(thrown)) throw thrown
          cutFirst(revocation, ops, () => written(revocation, order, by), thrown)
          return { revocation, unchanged: false }
        }
        if (plan.askedLate && mirror.lastRelabelling > planned)
          revocation = await widened(revocation, plan.askedLate(), by)
        return { revocation, unchanged: false }
      }
    },

    async lift({ id, reason }, by) {
      for (;;) {
        const { row } = await tables.revocations.get(id)
        if (!row)
          throw new RelayError('not-found', {
            what: `revocation/${id}`,
            why: 'there is none of this id',
            fix: '`fleetcat revocations --active` shows what can be lifted',
          })
        const revocation = row.value
        if (!holds(revocation)) {
          if (revocation.liftedAt || revocation.lockUntil) return { revocation, unchanged: true }
          throw new RelayError('conflict', {
            what: `revocation/${id}`,
            why: `it shuts nothing out: ${revocation.target} was ended, and has no lock`,
            fix: 'What it ended stays ended; make it anew instead',
          })
        }
        const lifted = { ...revocation, liftedAt: new Date(), liftedBy: by.name }
        const done = await commit(
          [tables.revocations.at(row.name, row.modRev)],
          [tables.revocations.put(row.name, lifted)],
          {
            by,
            event: 'lifted',
            target: revocation.target,
            reason,
            fields: { target: revocation.target, id },
            words: 'revocation lifted',
          },
        )
        if (done === undefined) continue
        return { revocation: lifted, unchanged: false }
      }
    },

    pendingFor(agent) {
      return mirror.unanswered(agent).flatMap(id => {
        const revocation = mirror.revocations.get(id)?.value
        if (!revocation) return []
        const { kind, name } = parseTarget(revocation.target)
        // Whoever has joined anew under the name is not the host that was to leave.
        const isOver = kind === 'agent' && name === agent && !mirror.agents.get(agent)?.value.revoked
        // A source that has been let in again meanwhile is not to be cut any more.
        const isLifted = kind === 'source' && !holds(revocation)
        return isOver || isLifted ? [] : [this.orderOf(revocation, agent)]
      })
    },

    orderOf({ id, target, targetId, reason, except, relayIds }, agent) {
      const { kind } = parseTarget(target)
      const ban = { revocationId: id, cidr: targetId, except, relayIds }
      const what: Record<TargetKind, RevokeOrder['target']> = {
        relay: { $case: 'relayId', value: targetId },
        conn: { $case: 'connectionId', value: targetId },
        source: { $case: 'source', value: ban },
        // Others only have tunnels with whom it names.
        agent: targetId === agent ? { $case: 'agent', value: targetId } : { $case: 'peer', value: target },
        operator: { $case: 'peer', value: target },
      }
      return { revocationId: id, target: what[kind], reason, revision: mirror.rev }
    },

    async noteReceipt(agent, receipt) {
      const revocation = mirror.revocations.get(receipt.revocationId)?.value
      if (!revocation?.agents.includes(agent.name)) return false
      if (mirror.receipt(revocation.id, agent.name)) return true
      const key = `${revocation.id}/${agent.name}`
      const ops = [tables.receipts.put(key, receipt)]
      const write = () =>
        commit([tables.receipts.at(key, 0n)], ops, noteOfReceipt(revocation, agent, receipt))
      try {
        await write()
      } catch (thrown) {
        if (!isStoreDown(thrown)) throw thrown
        // Once there is a receipt of this agent, whichever, there is nothing left to write.
        unsaved.add(`receipt ${key}`, ops, () => write().then(() => true))
      }
      return true
    },

    hasLeft(agent) {
      const open = (id: string) => mirror.revocations.get(id)?.value.target === `agent/${agent}`
      return mirror.agents.get(agent)?.value.revoked !== undefined && !mirror.unanswered(agent).some(open)
    },
  }
}

function noteOf(revocation: Revocation, by: Actor): Note {
  const { id, target, targetId, reason, lockUntil, relayIds, except, agents } = revocation
  const fields = { target, targetId, id, agents: agents.length, lockUntil, relayIds, except }
  return { by, event: 'revoked', target, reason, fields, words: 'revoked' }
}

function noteOfReceipt({ id, target }: Revocation, by: Actor, receipt: Receipt): Note {
  const { listenersClosed, connectionsCut, took, problem, warning } = receipt
  const ms = took && Math.round(toMilliseconds(took))
  const verdict = problem ? 'refused' : 'cut'
  return {
    by,
    event: 'receipt',
    target,
    outcome: problem ? 'refused' : 'done',
    fields: { id, verdict, listenersClosed, connectionsCut, ms, problem, warning },
    words: problem
      ? 'an agent could not do what a revocation asks'
      : 'an agent has done what a revocation asks',
  }
}
