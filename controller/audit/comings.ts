import type { Logger } from '#telemetry/log.ts'
import { localActor } from '../actor.ts'
import { openAlerts } from '../alerts.ts'
import type { Leases } from '../leases.ts'
import type { Mirror } from '../mirror.ts'
import type { Placement } from '../placement.ts'
import type { Ledger } from './ledger.ts'
import { type Note, say } from './note.ts'

/** The coming and going of agents. One that does so all the time has its rows counted together. */
export interface Comings extends Disposable {
  attached(agent: string, peer: string, fields: { version: string; resumed: boolean }): void
  /** `why` of one that said goodbye; without it the connection was lost. */
  detached(agent: string, peer: string, why: string | undefined): void
  /** A relay of this agent's changed by what the agent itself decided. */
  turned(agent: string, note: Note): void
}

const mostAgents = 100_000

export function openComings({
  ledger,
  leases,
  placement,
  mirror,
  log,
}: {
  ledger: Ledger
  leases: Leases
  placement: Placement
  mirror: Mirror
  log: Logger
}): Comings {
  const rows = openAlerts(ledger.record, { mostSubjects: mostAgents })
  /** Of each agent that is away: what ends the wait for its leases; nothing once they are over. */
  const away = new Map<string, NodeJS.Timeout | undefined>()
  let closed = false

  function note(agent: string, note: Note): void {
    say(log, note)
    if (!closed) rows.raise(agent, note)
  }

  function left(agent: string): void {
    if (closed) return
    const over = leases.endsBy(agent, placement.longestLeaseOn(agent))
    clearTimeout(away.get(agent))
    // No lease is longer than a timer can wait.
    const timer = setTimeout(() => lapsed(agent, over), Math.max(1, over.getTime() - Date.now()))
    away.set(agent, timer.unref())
  }

  function lapsed(agent: string, since: Date): void {
    away.set(agent, undefined)
    if (mirror.agents.get(agent)?.value.revoked) return
    note(agent, {
      by: localActor,
      event: 'agent.lapsed',
      target: `agent/${agent}`,
      outcome: 'alert',
      fields: { agent, since },
      words: 'an agent has been out of reach for longer than its leases: its relays are closed',
    })
  }

  function back(agent: string, peer: string): void {
    const isLapsed = away.has(agent) && away.get(agent) === undefined
    clearTimeout(away.get(agent))
    away.delete(agent)
    if (!isLapsed) return
    note(agent, {
      by: { kind: 'agent', name: agent, peer },
      event: 'agent.returned',
      target: `agent/${agent}`,
      fields: { agent },
      words: 'an agent whose leases had lapsed is back',
    })
  }

  // Those that were there under an earlier process of this controller, and do not come to this one.
  for (const agent of mirror.seen.keys()) left(agent)

  return {
    attached(agent, peer, fields) {
      back(agent, peer)
      note(agent, {
        by: { kind: 'agent', name: agent, peer },
        event: 'agent.attached',
        target: `agent/${agent}`,
        fields: { agent, peer, ...fields },
        words: 'agent attached',
      })
    },
    detached(agent, peer, why) {
      left(agent)
      note(agent, {
        by: { kind: 'agent', name: agent, peer },
        event: 'agent.detached',
        target: `agent/${agent}`,
        fields: { agent, how: why ? 'left' : 'lost', why },
        words: 'agent detached',
      })
    },
    turned: (agent, turn) => note(`${agent} ${turn.target}`, turn),
    [Symbol.dispose]() {
      // The last streams end only when the port is gone.
      closed = true
      for (const timer of away.values()) clearTimeout(timer)
      rows[Symbol.dispose]()
    },
  }
}
