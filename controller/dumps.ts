import { randomUUID } from 'node:crypto'
import type { WatchDumpRequest, WatchDumpResponse } from '#gen/fleetcat/v1/operator.ts'
import { DumpFormat } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { type Actor, actorFields } from './actor.ts'
import type { Ledger } from './audit/ledger.ts'
import { type Dump, type DumpLeg, mostAgents, openDump } from './dump.ts'
import { dumpSubject } from './dump-subject.ts'
import type { Hosts } from './hosts.ts'
import type { Mirror } from './mirror.ts'
import type { Placement } from './placement.ts'

/**
 * Live dumps: what agents show goes straight to the operator who asked, and is kept nowhere. Each agent may have one
 * message on the way here; so a slow operator holds up the agents' streams, and the agents count what they skip.
 */
export interface Dumps {
  watch(request: WatchDumpRequest, caller: Actor, signal: AbortSignal): AsyncGenerator<WatchDumpResponse>
  /** An agent answers an order. Throws a RelayError when it was not asked, or nobody looks any more. */
  answer(agent: string, dumpId: string): DumpLeg
}

const mostOfOneCaller = 8

interface Parts {
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly placement: Placement
  readonly ledger: Ledger
}

export function openDumps({ mirror, hosts, placement, ledger }: Parts): Dumps {
  const open = new Map<string, { readonly caller: string; readonly dump: Dump }>()

  function checkRoom(caller: string): void {
    const present = [...open.values()].filter(each => each.caller === caller).length
    if (present < mostOfOneCaller) return
    throw new RelayError('exhausted', {
      what: 'dump',
      why: `${caller} looks at ${mostOfOneCaller} already`,
      fix: 'End some of them first',
    })
  }

  return {
    async *watch(request, caller, signal) {
      const subject = dumpSubject(request, { mirror, hosts, placement })
      const { target, relay } = subject
      const agents = subject.agents().filter(agent => hosts.get(agent)?.session)
      checkReach(target, agents)
      checkRoom(caller.name)

      const dumpId = randomUUID()
      const { direction } = request
      using dump = openDump({ dumpId, direction, by: actorFields(caller).by }, subject, { mirror, hosts })
      open.set(dumpId, { caller: caller.name, dump })
      const began = performance.now()
      const about = { target, relay: relay.name, dump: dumpId, agents }
      const note = { by: caller, target }
      try {
        // Nobody looks without its being on record.
        await ledger.write({
          ...note,
          event: 'dump.began',
          fields: about,
          words: 'an operator looks at what passes',
        })
      } catch (thrown) {
        open.delete(dumpId)
        throw thrown
      }
      signal.addEventListener('abort', dump.close)
      try {
        const format = relay.spec?.dump?.format ?? DumpFormat.UNSPECIFIED
        yield { message: { $case: 'begun', value: { relay: relay.name, agents, format } } }
        if (!signal.aborted) yield* dump.take()
      } finally {
        signal.removeEventListener('abort', dump.close)
        open.delete(dumpId)
        const { bytes } = dump
        const ms = Math.round(performance.now() - began)
        const fields = { ...about, bytes, ms }
        ledger.keep({ ...note, event: 'dump.ended', fields, words: 'an operator looks no longer' })
      }
    },
    answer(agent, dumpId) {
      const leg = open.get(dumpId)?.dump.answer(agent)
      if (leg) return leg
      const why = 'nobody looks at it any more, or this agent was not asked'
      throw new RelayError('not-found', { what: 'the dump', why })
    },
  }
}

function checkReach(target: string, agents: readonly string[]): void {
  const what = `dump ${target}`
  if (agents.length === 0) {
    throw new RelayError('unavailable', {
      what,
      why: 'none of its agents is connected to the controller',
      fix: '`fleetcat agents` shows how they fare',
    })
  }
  if (agents.length > mostAgents) {
    throw new RelayError('usage', {
      what,
      why: `it runs on ${agents.length} agents, and nobody can look at more than ${mostAgents} at a time`,
      fix: `Choose one: --agent ${agents[0]}`,
    })
  }
}
