import type { RevokeOrder } from '#gen/fleetcat/v1/agent.ts'
import type { Receipt, Revocation } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { toDuration } from '#wire/duration.ts'
import { defaultLeaseMs, leaseMs, longestLeaseMs } from '#wire/lease.ts'
import type { Actor, Journal } from './actor.ts'
import type { Commit } from './commit.ts'
import type { Former } from './former.ts'
import type { Hosts } from './hosts.ts'
import { newId } from './ids.ts'
import type { Mirror } from './mirror.ts'
import type { AgentRecord, OperatorRecord } from './records.ts'
import type { Condition, Op } from './store/store.ts'
import type { Tables } from './tables.ts'
import { parseTarget, type TargetKind } from './target.ts'

/** Orders to cut: on disk before they are answered, and kept when what they name is gone. */
export interface Revocations {
  revoke(
    order: { target: string; reason: string; requestId: string; dryRun: boolean },
    by: Actor,
  ): Promise<{
    revocation: Revocation
    unchanged: boolean
  }>
  /** The orders to which this agent has sent no receipt. */
  pendingFor(agent: string): RevokeOrder[]
  orderOf(revocation: Revocation): RevokeOrder
  /** An agent's word that it is done. Passed over when it was never asked of that agent: false. */
  noteReceipt(agent: string, receipt: Receipt): Promise<boolean>
  /** It was revoked, and has confirmed that. */
  hasLeft(agent: string): boolean
}

interface Plan {
  readonly targetId: string
  readonly agents: string[]
  /** How long an agent that is out of reach may go on with it. */
  readonly leaseMs: number
  readonly ifs: Condition[]
  readonly ops: Op[]
  /** Whom to ask as of now, where that may have changed while the order was being written. */
  readonly askedLate?: () => string[]
}

interface Parts {
  readonly commit: Commit
  readonly tables: Tables
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly former: Former
  readonly journal: Journal
}

export function openRevocations({ commit, tables, mirror, hosts, former, journal }: Parts): Revocations {
  const plans: Record<TargetKind, (name: string, by: string, reason: string) => Promise<Plan | undefined>> = {
    async relay(name) {
      const { row } = await tables.relays.get(mirror.relaysById.get(name)?.name ?? name)
      if (!row) return undefined
      // Whom it left by its last change is known when the mirror shows that change.
      await mirror.caughtUp(row.modRev)
      const { id } = row.value
      const asked = () => {
        const reporting = [...hosts.all()].filter(host => host.session && host.reports.has(id))
        return [...new Set([...former.mayRun(row.value), ...reporting.map(host => host.name)])]
      }
      return {
        targetId: id,
        agents: asked(),
        leaseMs: leaseMs({ lease: row.value.longestLease }),
        ifs: [tables.relays.at(row.name, row.modRev)],
        ops: [tables.relays.delete(row.name), ...former.relayOps(id)],
        askedLate: asked,
      }
    },
    async conn(id) {
      // Agents choose these ids. Were only one of them asked, another could hide behind it.
      const holders = [...hosts.all()].filter(host => host.connections.has(id))
      const leases = holders.map(host => leaseOf(host.connections.get(id)?.relayId ?? ''))
      const agents = holders.map(host => host.name)
      return agents.length > 0
        ? { targetId: id, agents, leaseMs: Math.max(...leases), ifs: [], ops: [] }
        : undefined
    },
    async agent(name, by, reason) {
      const { row } = await tables.agents.get(name)
      if (!row || row.value.revoked) return undefined
      const agents = hosts.get(name)?.session || mirror.seen.has(name) ? [name] : []
      return struckOff('agent', agents, row, tables.agents, by, reason)
    },
    async operator(name, by, reason) {
      const { row } = await tables.operators.get(name)
      if (!row || row.value.revoked) return undefined
      const plan = struckOff('operator', [], row, tables.operators, by, reason)
      return row.value.role === 'admin' ? { ...plan, ifs: [...plan.ifs, anotherAdmin(name)] } : plan
    },
  }

  /** Of a relay that is gone nobody remembers the lease any more. */
  function leaseOf(relayId: string): number {
    const relay = mirror.relaysById.get(relayId)
    return relay ? leaseMs({ lease: relay.longestLease }) : longestLeaseMs
  }

  /** The longest of all relays that this agent may run. */
  function leaseOn(agent: string): number {
    const relays = [...mirror.relays.values()].filter(({ value }) => former.mayRun(value).includes(agent))
    return Math.max(defaultLeaseMs, ...relays.map(({ value }) => leaseMs({ lease: value.longestLease })))
  }

  /** The name keeps its row, its keys die with it, and no token that was minted for it works any more. */
  function struckOff<T extends AgentRecord | OperatorRecord>(
    kind: 'agent' | 'operator',
    agents: string[],
    row: { name: string; value: T; modRev: bigint },
    people: { put(name: string, value: T): Op; at(name: string, rev: bigint): Condition },
    by: string,
    reason: string,
  ): Plan {
    const at = new Date().toISOString()
    const tokens = [...mirror.tokens.values()].filter(
      ({ value }) => value.kind === kind && value.name === row.name && !value.revoked,
    )
    return {
      targetId: row.name,
      agents,
      leaseMs: kind === 'agent' ? leaseOn(row.name) : 0,
      ifs: [people.at(row.name, row.modRev)],
      ops: [
        people.put(row.name, { ...row.value, keys: [], revoked: { at, by, reason } }),
        ...row.value.keys.map(({ hash, notAfter }) =>
          tables.deadKeys.put(hash, { kind, name: row.name, at, notAfter }),
        ),
        ...tokens.map(({ value }) => tables.tokens.put(value.id, { ...value, revoked: true })),
      ],
    }
  }

  /** Holds while somebody else can let people in: without an admin nobody could, not even to undo this. */
  function anotherAdmin(name: string): Condition {
    const now = Date.now()
    const other = [...mirror.operators.values()].find(
      ({ value }) =>
        value.name !== name &&
        value.role === 'admin' &&
        !value.revoked &&
        value.keys.some(key => Date.parse(key.notAfter) > now),
    )
    if (other) return tables.operators.at(other.value.name, other.modRev)
    throw new RelayError('conflict', {
      what: `operator/${name}`,
      why: 'it is the last admin, and after it nobody could let anybody in',
      fix: 'Let another admin log in first: fleetcat token create operator --name NAME --role admin',
    })
  }

  /** Other labels may have brought the relay to one more agent between the plan and the order. */
  async function widened(revocation: Revocation, late: readonly string[]): Promise<Revocation> {
    const agents = [...new Set([...revocation.agents, ...late])]
    if (agents.length === revocation.agents.length) return revocation
    const wider = { ...revocation, agents }
    await commit([], [tables.revocations.put(revocation.id, wider)])
    return wider
  }

  function earlier(target: string, requestId?: string): Revocation | undefined {
    let last: Revocation | undefined
    for (const { value } of mirror.revocations.values()) {
      if (value.target !== target || (requestId !== undefined && value.requestId !== requestId)) continue
      if (!last || (value.at?.getTime() ?? 0) > (last.at?.getTime() ?? 0)) last = value
    }
    return last
  }

  function unknown(kind: TargetKind, name: string): RelayError {
    const names = {
      relay: [...mirror.relays.keys()],
      conn: [],
      agent: [...mirror.agents.keys()],
      operator: [...mirror.operators.keys()],
    }[kind]
    const near = nearest(name, names)
    const list = { relay: 'list', conn: 'connections', agent: 'agents', operator: 'whoami' }[kind]
    return new RelayError('not-found', {
      what: `${kind}/${name}`,
      why: kind === 'conn' ? 'no live connection has this id' : `there is no ${kind} of this name`,
      fix: near ? `Did you mean \`${kind}/${near}\`?` : `\`fleetcat ${list}\` shows what there is`,
    })
  }

  return {
    async revoke({ target, reason, requestId, dryRun }, by) {
      const { kind, name } = parseTarget(target)
      if (requestId) {
        const repeated = earlier(target, requestId)
        if (repeated) return { revocation: repeated, unchanged: false }
      }
      for (;;) {
        const plan = await plans[kind](name, by.name, reason)
        if (!plan) {
          const before = earlier(target)
          if (before) return { revocation: before, unchanged: true }
          throw unknown(kind, name)
        }
        const { targetId, agents, ifs, ops, askedLate } = plan
        const longestLease = toDuration(plan.leaseMs)
        const planned = mirror.rev
        let revocation: Revocation = {
          id: newId('v'),
          target,
          targetId,
          at: new Date(),
          by: by.name,
          reason,
          agents,
          requestId,
          longestLease,
        }
        if (dryRun) return { revocation, unchanged: false }
        const done = await commit(ifs, [...ops, tables.revocations.put(revocation.id, revocation)])
        if (done === undefined) continue
        if (askedLate && mirror.lastRelabelling > planned) revocation = await widened(revocation, askedLate())
        const { id } = revocation
        const asked = revocation.agents.length
        journal(by, 'revoked', { target, targetId, id, agents: asked, reason }, 'revoked')
        return { revocation, unchanged: false }
      }
    },

    pendingFor(agent) {
      return mirror.unanswered(agent).flatMap(id => {
        const revocation = mirror.revocations.get(id)?.value
        if (!revocation) return []
        // Whoever has joined anew under the name is not the host that was to leave.
        const isOver =
          parseTarget(revocation.target).kind === 'agent' && !mirror.agents.get(agent)?.value.revoked
        return isOver ? [] : [this.orderOf(revocation)]
      })
    },

    orderOf({ id, target, targetId, reason }) {
      const { kind } = parseTarget(target)
      const what: Record<TargetKind, RevokeOrder['target']> = {
        relay: { $case: 'relayId', value: targetId },
        conn: { $case: 'connectionId', value: targetId },
        agent: { $case: 'agent', value: targetId },
        operator: undefined,
      }
      return { revocationId: id, target: what[kind], reason, revision: mirror.rev }
    },

    async noteReceipt(agent, receipt) {
      const revocation = mirror.revocations.get(receipt.revocationId)?.value
      if (!revocation?.agents.includes(agent)) return false
      const key = `${revocation.id}/${agent}`
      await commit([tables.receipts.at(key, 0n)], [tables.receipts.put(key, receipt)])
      return true
    },

    hasLeft(agent) {
      const open = (id: string) => mirror.revocations.get(id)?.value.target === `agent/${agent}`
      return mirror.agents.get(agent)?.value.revoked !== undefined && !mirror.unanswered(agent).some(open)
    },
  }
}
