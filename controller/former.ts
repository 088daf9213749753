import { createHash } from 'node:crypto'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import type { Commit } from './commit.ts'
import { equalLabels, type Labels, sortedLabels } from './labels.ts'
import type { Mirror, MirrorChange } from './mirror.ts'
import type { Placement } from './placement.ts'
import { parseSelector } from './selector.ts'
import type { Op, Rev } from './store/store.ts'
import type { Tables } from './tables.ts'
import { parseTarget } from './target.ts'

/**
 * Which agents may still run a relay though they should not any more: the relay was placed elsewhere, or other labels
 * came to the agent, and it has not confirmed yet that it knows. Out of reach it may run the relay for long, so a
 * revocation has to ask it too.
 *
 * What was true before is written in the transaction that changes it, so no crash can come in between; what is only
 * added costs nothing. A row goes when all whom it concerns have applied a later revision.
 */
export interface Former extends Disposable {
  /** All who may run it: those who should, and those who once should have and have not confirmed otherwise. */
  mayRun(relay: Relay): string[]
  /** To be written with the change of a relay: nothing when it stays where it is. */
  placementOps(before: Relay, after: Relay): Op[]
  /** To be written with other labels of an agent that was attached before. */
  labelsOps(agent: string, before: Labels, after: Labels): Op[]
  /** To be written when the relay ends: those who may run it are asked by then. */
  relayOps(relayId: string): Op[]
  /** The agent says that it has applied all that it was sent up to this revision. */
  confirmed(agent: string, revision: Rev): void
}

/** A host that has other labels at each greeting and confirms nothing is not ours any more; it must not fill the disk. */
const mostLabels = 64

interface Placed {
  readonly agents: readonly string[]
  readonly selector: string
}

interface Awaiting {
  readonly since: Rev
  readonly agents: Set<string>
}

export function openFormer({
  commit,
  tables,
  mirror,
  placement,
  log,
}: {
  commit: Commit
  tables: Tables
  mirror: Mirror
  placement: Placement
  log: Logger
}): Former {
  /** By the name of the row of a former placement: of whom it awaits a word. */
  const awaiting = new Map<string, Awaiting>()
  const byAgent = new Map<string, Set<string>>()
  const byRelay = new Map<string, Set<string>>()
  const heard = new Map<string, Rev>()
  const unkept = new Set<string>()
  let flushing: NodeJS.Immediate | undefined

  function confirmedUpTo(agent: string): Rev {
    return heard.get(agent) ?? mirror.applied.get(agent)?.value.revision ?? 0n
  }

  function formerLabels(): Map<string, Labels[]> {
    const found = new Map<string, Labels[]>()
    for (const { value, modRev } of mirror.formerLabels.values()) {
      if (modRev <= confirmedUpTo(value.agent)) continue
      found.set(value.agent, [...(found.get(value.agent) ?? []), value.labels])
    }
    return found
  }

  function chosen({ agents, selector }: Placed, createdAt: Date | undefined): string[] {
    const matches = agents.length > 0 ? () => true : parseSelector(selector).matches
    const former = formerLabels()
    return [...(agents.length > 0 ? new Set(agents) : mirror.agents.keys())].filter(agent => {
      if (former.get(agent)?.some(matches)) return true
      return isOpen(agent, createdAt) && matches(placement.labelsOf(agent))
    })
  }

  /** An agent that was revoked is told of nothing new; what it ran before, it may run until its receipt is in hand. */
  function isOpen(agent: string, createdAt: Date | undefined): boolean {
    const record = mirror.agents.get(agent)?.value
    if (!record?.revoked) return record !== undefined
    if (createdAt && createdAt.toISOString() > record.revoked.at) return false
    return mirror.unanswered(agent).some(id => {
      const order = mirror.revocations.get(id)?.value
      return order && parseTarget(order.target).kind === 'agent'
    })
  }

  /** Nobody is told anything before its first sighting is on disk. */
  function wasTold(agent: string): boolean {
    return mirror.seen.has(agent)
  }

  function learn(name: string): void {
    forget(name)
    const row = mirror.formerPlacements.get(name)
    if (!row) return
    const { relayId } = row.value
    const relay = mirror.relaysById.get(relayId)
    const agents = relay
      ? chosen(row.value, relay.createdAt).filter(
          agent => wasTold(agent) && confirmedUpTo(agent) < row.modRev,
        )
      : []
    awaiting.set(name, { since: row.modRev, agents: new Set(agents) })
    index(byRelay, relayId, name)
    for (const agent of agents) index(byAgent, agent, name)
    if (relay && agents.length === 0) discard(name)
  }

  function forget(name: string): void {
    const known = awaiting.get(name)
    if (!known) return
    awaiting.delete(name)
    unindex(byRelay, relayIdOf(name), name)
    for (const agent of known.agents) unindex(byAgent, agent, name)
  }

  function rowsOf(agent: string): number {
    return [...mirror.formerLabels.values()].filter(({ value }) => value.agent === agent).length
  }

  function note({ everything, formerPlacements }: MirrorChange): void {
    if (everything) for (const name of [...awaiting.keys()]) forget(name)
    for (const name of formerPlacements) learn(name)
  }

  /** Nobody waits for these writes: without them some are asked once more who need not be. */
  function write(ifs: Parameters<Commit>[0], ops: Parameters<Commit>[1]): void {
    commit(ifs, ops).catch(error => {
      log.debug({ event: 'confirmation.not-kept', error }, 'what agents have confirmed could not be kept')
    })
  }

  function discard(name: string): void {
    const since = awaiting.get(name)?.since
    if (since === undefined) return
    write([tables.formerPlacements.at(name, since)], [tables.formerPlacements.delete(name)])
  }

  /** Of a thousand agents that confirm one change the words are kept together. */
  function flush(): void {
    flushing = undefined
    const ops = [...unkept].map(agent => tables.applied.put(agent, { revision: confirmedUpTo(agent) }))
    unkept.clear()
    if (ops.length > 0) write([], ops)
  }

  for (const name of mirror.formerPlacements.keys()) learn(name)
  const stop = mirror.onChange(note)

  return {
    mayRun({ id, spec, createdAt }) {
      const late = [...(byRelay.get(id) ?? [])].flatMap(name => [...(awaiting.get(name)?.agents ?? [])])
      return [...new Set([...(spec ? chosen(spec, createdAt) : []), ...late])]
    },
    placementOps(before, after) {
      const [was, is] = [placedBy(before), placedBy(after)]
      if (JSON.stringify(was) === JSON.stringify(is)) return []
      const name = `${before.id}/${hashOf(was)}`
      return [tables.formerPlacements.put(name, { relayId: before.id, ...was })]
    },
    labelsOps(agent, before, after) {
      if (equalLabels(before, after) || rowsOf(agent) >= mostLabels) return []
      return [
        tables.formerLabels.put(`${agent}/${hashOf(sortedLabels(before))}`, { agent, labels: { ...before } }),
      ]
    },
    relayOps(relayId) {
      return [...(byRelay.get(relayId) ?? [])].map(name => tables.formerPlacements.delete(name))
    },
    confirmed(agent, revision) {
      if (revision <= confirmedUpTo(agent)) return
      heard.set(agent, revision)
      for (const name of [...(byAgent.get(agent) ?? [])]) {
        const row = awaiting.get(name)
        if (!row || row.since > revision) continue
        row.agents.delete(agent)
        unindex(byAgent, agent, name)
        if (row.agents.size === 0) discard(name)
        else unkept.add(agent)
      }
      for (const [name, { value, modRev }] of mirror.formerLabels) {
        if (value.agent !== agent || modRev > revision) continue
        write([tables.formerLabels.at(name, modRev)], [tables.formerLabels.delete(name)])
      }
      if (unkept.size > 0) flushing ??= setImmediate(flush)
    },
    [Symbol.dispose]() {
      stop()
      clearImmediate(flushing)
    },
  }
}

function placedBy({ spec }: Relay): { agents: string[]; selector: string } {
  return { agents: [...new Set(spec?.agents)].sort(), selector: spec?.selector ?? '' }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 32)
}

function relayIdOf(name: string): string {
  return name.slice(0, name.indexOf('/'))
}

function index(map: Map<string, Set<string>>, key: string, value: string): void {
  map.set(key, (map.get(key) ?? new Set()).add(value))
}

function unindex(map: Map<string, Set<string>>, key: string, value: string): void {
  const values = map.get(key)
  values?.delete(value)
  if (values?.size === 0) map.delete(key)
}
