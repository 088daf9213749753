import type { Logger } from '#telemetry/log.ts'
import type { Commit } from './commit.ts'
import type { Former } from './former.ts'
import type { Host } from './hosts.ts'
import { equalLabels, labelsOfAgent } from './labels.ts'
import type { Mirror } from './mirror.ts'
import type { Tables } from './tables.ts'

/** When each agent was last heard, and what it said of itself. */
export interface Sightings {
  /** As `keep`, where only the date in a list is at stake. */
  note(host: Host): Promise<void>
  /** On disk: the labels that the host now says it has, by which relays are placed on it. */
  keep(host: Host): Promise<void>
  /** What is on disk is what the host says now: what is placed by it may be sent. */
  areCurrent(agent: string, hostLabels: Readonly<Record<string, string>>): boolean
}

export function openSightings({
  commit,
  tables,
  mirror,
  former,
  log,
}: {
  commit: Commit
  tables: Tables
  mirror: Mirror
  former: Former
  log: Logger
}): Sightings {
  async function keep(host: Host): Promise<void> {
    const { name } = host
    for (;;) {
      const [{ row }, { row: agent }] = await Promise.all([tables.seen.get(name), tables.agents.get(name)])
      const at = (host.lastHeardAt ?? new Date()).toISOString()
      const { version = '', hostLabels = {} } = host.hello ?? {}
      const given = agent?.value.labels ?? {}
      const before = row && labelsOfAgent(given, row.value.hostLabels)
      const ops = before ? former.labelsOps(name, before, labelsOfAgent(given, hostLabels)) : []
      const done = await commit(
        // Other labels by a new token at the same moment would be kept as if they had never been.
        [tables.seen.at(name, row?.modRev ?? 0n), tables.agents.at(name, agent?.modRev ?? 0n)],
        [...ops, tables.seen.put(name, { at, version, hostLabels })],
      )
      if (done !== undefined) return
    }
  }

  return {
    keep,
    note: host =>
      keep(host).catch(error => {
        log.debug(
          { event: 'seen.not-kept', agent: host.name, error },
          'when the agent was last heard could not be kept',
        )
      }),
    areCurrent(agent, hostLabels) {
      const kept = mirror.seen.get(agent)?.value
      return kept !== undefined && equalLabels(kept.hostLabels, hostLabels)
    },
  }
}
