import type { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { contains, parseCidr } from '#relay/ip.ts'
import { nearest } from '#relay/nearest.ts'
import { defaultLeaseMs, leaseMs, longestLeaseMs } from '#wire/lease.ts'
import type { Actor } from './actor.ts'
import type { Former } from './former.ts'
import type { Hosts } from './hosts.ts'
import type { Mirror } from './mirror.ts'
import type { AgentRecord, OperatorRecord } from './records.ts'
import type { Condition, Op } from './store/store.ts'
import type { Tables } from './tables.ts'
import type { TargetKind } from './target.ts'
import { answeringAgents, type Tunnels } from './tunnels.ts'

/** What has to be written, and who has to be asked, so that a target is revoked. */
export interface Plan {
  readonly targetId: string
  readonly agents: string[]
  /** How long an agent that is out of reach may go on with it. */
  readonly leaseMs: number
  readonly ifs: Condition[]
  readonly ops: Op[]
  /** Of a source: the relays that it is shut out of; all if empty. */
  readonly relayIds?: string[]
  /** Whom to ask as of now, where that may have changed while the order was being written. */
  readonly askedLate?: () => string[]
}

export interface Revocable {
  /** Nothing when there is no such target, or when it has been revoked already. */
  plan(kind: TargetKind, name: string, order: RevokeRequest, by: Actor): Promise<Plan | undefined>
  /** There is nothing of this name. */
  unknown(kind: TargetKind, name: string): RelayError
}

interface Parts {
  readonly tables: Tables
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly former: Former
  readonly tunnels: Pick<Tunnels, 'facing'>
}

export function openRevocable({ tables, mirror, hosts, former, tunnels }: Parts): Revocable {
  type Planner = (name: string, order: RevokeRequest, by: Actor) => Promise<Plan | undefined>

  const plans: Record<TargetKind, Planner> = {
    async relay(name) {
      const { row } = await tables.relays.get(mirror.relaysById.get(name)?.name ?? name)
      if (!row) return undefined
      // Whom it left by its last change is known when the mirror shows that change.
      await mirror.caughtUp(row.modRev)
      const { id } = row.value
      const asked = () => {
        const reporting = [...hosts.all()].filter(host => host.session && host.reports.has(id))
        return [
          ...new Set([
            ...former.mayRun(row.value),
            ...reporting.map(host => host.name),
            ...answering(row.value),
          ]),
        ]
      }
      return {
        targetId: id,
        agents: asked(),
        leaseMs: longestLease(row.value),
        ifs: [tables.relays.at(row.name, row.modRev)],
        ops: [tables.relays.delete(row.name), ...former.relayOps(id)],
        askedLate: asked,
      }
    },

    async conn(id) {
      // Agents choose these ids. Were only one of them asked, another could hide behind it.
      const holders = [...hosts.all()].filter(host => host.connections.has(id))
      if (holders.length === 0) return undefined
      const leases = holders.map(host => leaseOf(host.connections.get(id)?.relayId ?? ''))
      return {
        targetId: id,
        agents: holders.map(host => host.name),
        leaseMs: Math.max(...leases),
        ifs: [],
        ops: [],
      }
    },

    async source(text, { relays: names, except }) {
      const cidr = parseCidr(text)
      for (const network of except) checkInside(text, network)
      const concerned =
        names.length > 0 ? names.map(named) : [...mirror.relays.values()].map(row => row.value)
      const asked = () => {
        const reporting = [...hosts.all()].filter(
          host => host.session && concerned.some(({ id }) => host.reports.has(id)),
        )
        const placed = concerned.flatMap(relay => former.mayRun(relay))
        return [...new Set([...placed, ...reporting.map(host => host.name)])]
      }
      return {
        targetId: cidr.text,
        agents: asked(),
        leaseMs: Math.max(defaultLeaseMs, ...concerned.map(longestLease)),
        relayIds: names.length > 0 ? concerned.map(({ id }) => id) : [],
        ifs: [],
        ops: [],
        askedLate: asked,
      }
    },

    async agent(name, { reason }, by) {
      const { row } = await tables.agents.get(name)
      if (!row || row.value.revoked) return undefined
      const own = hosts.get(name)?.session || mirror.seen.has(name) ? [name] : []
      const agents = [...own, ...tunnels.facing(`agent/${name}`)]
      const relays = [...mirror.relays.values()].map(({ value }) => value)
      const leases = relays.filter(relay => former.mayRun(relay).includes(name)).map(longestLease)
      const rest = { agents, leaseMs: Math.max(defaultLeaseMs, ...leases) }
      return { ...rest, ...struckOff('agent', row, tables.agents, { by: by.name, reason }) }
    },

    async operator(name, { reason }, by) {
      const { row } = await tables.operators.get(name)
      if (!row || row.value.revoked) return undefined
      const agents = tunnels.facing(`operator/${name}`)
      const rest = { agents, leaseMs: agents.length > 0 ? defaultLeaseMs : 0 }
      const plan = { ...rest, ...struckOff('operator', row, tables.operators, { by: by.name, reason }) }
      return row.value.role === 'admin' ? { ...plan, ifs: [...plan.ifs, anotherAdmin(name)] } : plan
    },
  }

  /** The agents at the other ends of its tunnels, as far as they were ever here. */
  function answering(relay: Relay): string[] {
    const reporting = [...hosts.all()].filter(({ connections }) =>
      [...connections.values()].some(each => each.relayId === relay.id && each.initiator),
    )
    const named = answeringAgents(relay).filter(name => mirror.agents.has(name) && mirror.seen.has(name))
    return [...named, ...reporting.map(({ name }) => name)]
  }

  function named(name: string): Relay {
    const relay = mirror.relays.get(name)?.value ?? mirror.relaysById.get(name)
    if (!relay) throw unknown('relay', name)
    return relay
  }

  /** Of a relay that is gone nobody remembers the lease any more. */
  function leaseOf(relayId: string): number {
    const relay = mirror.relaysById.get(relayId)
    return relay ? longestLease(relay) : longestLeaseMs
  }

  /** The name keeps its row, its keys die with it, and no token that was minted for it works any more. */
  function struckOff<T extends AgentRecord | OperatorRecord>(
    kind: 'agent' | 'operator',
    row: { name: string; value: T; modRev: bigint },
    people: { put(name: string, value: T): Op; at(name: string, rev: bigint): Condition },
    why: { by: string; reason: string },
  ): Pick<Plan, 'targetId' | 'ifs' | 'ops'> {
    const at = new Date().toISOString()
    const tokens = [...mirror.tokens.values()].filter(
      ({ value }) => value.kind === kind && value.name === row.name && !value.revoked,
    )
    return {
      targetId: row.name,
      ifs: [people.at(row.name, row.modRev)],
      ops: [
        people.put(row.name, { ...row.value, keys: [], revoked: { at, ...why } }),
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

  function unknown(kind: TargetKind, name: string): RelayError {
    const names = {
      relay: [...mirror.relays.keys()],
      conn: [],
      source: [],
      agent: [...mirror.agents.keys()],
      operator: [...mirror.operators.keys()],
    }[kind]
    const near = nearest(name, names)
    const shown = near ? `Did you mean \`${kind}/${near}\`?` : whereShown[kind]
    return new RelayError('not-found', {
      what: `${kind}/${name}`,
      why: kind === 'conn' ? 'no live connection has this id' : `there is no ${kind} of this name`,
      fix: shown,
    })
  }

  return { plan: (kind, name, order, by) => plans[kind](name, order, by), unknown }
}

const whereShown: Record<TargetKind, string> = {
  relay: '`fleetcat list` shows what there is',
  conn: 'It may have ended by itself; `fleetcat connections` shows what there is',
  source: '`fleetcat connections` shows where connections come from',
  agent: '`fleetcat agents` shows what there is',
  operator: '`fleetcat token list` shows the names of those who were let in',
}

const longestLease = (relay: Relay) => leaseMs({ lease: relay.longestLease })

function checkInside(whole: string, part: string): void {
  const inner = parseCidr(part)
  const outer = parseCidr(whole)
  if (inner.bits > outer.bits && contains(outer, inner.text.replace(/\/.*/, ''))) return
  throw new RelayError('usage', {
    what: `--except ${part}`,
    why: `it is not a part of ${whole}`,
    fix: 'Name networks inside the one that is shut out',
  })
}
