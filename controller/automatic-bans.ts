import type { SourceBanned } from '#gen/fleetcat/v1/agent.ts'
import type { Relay } from '#gen/fleetcat/v1/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import { limitMs, toDuration } from '#wire/duration.ts'
import { type Actor, signatureOf } from './actor.ts'
import type { Alerts } from './alerts.ts'
import { holds } from './locks.ts'
import type { Mirror } from './mirror.ts'
import type { Revocations } from './revocations.ts'

/**
 * What agents shut out by themselves becomes a revocation: it reaches the other agents of the relay, is listed, and can
 * be lifted.
 */
export interface AutomaticBans {
  /** The agent says so of a relay of its own, of one source, as the relay's rule lets it. Never rejects. */
  note(agent: Actor, relay: Relay, banned: SourceBanned): Promise<void>
}

interface Parts {
  readonly mirror: Mirror
  readonly revocations: Pick<Revocations, 'revoke'>
  readonly alerts: Alerts
  readonly log: Logger
}

/** Of one agent, what it repeats included; an agent of ours makes 60 a minute at most. */
const mostAtOnce = 200
const everyMs = 500
/** That hold at a time: of one agent, and of all. */
const mostOfOne = 1_000
const mostInAll = 10_000

export function openAutomaticBans({ mirror, revocations, alerts, log }: Parts): AutomaticBans {
  const budgets = new Map<string, { left: number; at: number }>()
  const busy = new Map<string, Promise<void>>()

  function isWithinBudget(agent: string): boolean {
    const now = performance.now()
    const { left, at } = budgets.get(agent) ?? { left: mostAtOnce, at: now }
    const grown = Math.min(mostAtOnce, left + (now - at) / everyMs)
    budgets.set(agent, { left: Math.max(0, grown - 1), at: now })
    return grown >= 1
  }

  function hasRoom(agent: Actor): boolean {
    const by = signatureOf(agent)
    let [own, all] = [0, 0]
    for (const { value } of mirror.revocations.values()) {
      if (!value.automatic || !holds(value)) continue
      all++
      if (value.by === by) own++
    }
    return own < mostOfOne && all < mostInAll
  }

  async function revoke(agent: Actor, relay: Relay, cidr: string, lastsMs: number): Promise<void> {
    if (!hasRoom(agent)) return flooded(agent)
    const { after = 0, within } = relay.spec?.limits?.ban ?? {}
    const order = {
      target: `source/${cidr}`,
      reason: `turned away ${after} times within ${(limitMs(within) ?? 0) / 1_000} s at relay/${relay.name}`,
      relays: [relay.id],
      lock: toDuration(lastsMs),
    }
    try {
      await revocations.revoke(order, agent)
    } catch (error) {
      const fields = { event: 'ban.failed', agent: agent.name, source: cidr, error }
      log.warn(fields, 'a source that an agent has shut out could not be noted')
    }
  }

  function flooded(by: Actor): void {
    const words = 'an agent shuts out more sources than are noted: it still refuses the others itself'
    const target = `agent/${by.name}`
    alerts.raise(by.name, { by, event: 'alert.too-many-bans', outcome: 'alert', target, words })
  }

  return {
    note(agent, relay, { cidr, lasts }) {
      const rule = relay.spec?.limits?.ban
      const lastsMs = Math.min(limitMs(lasts) ?? 0, limitMs(rule?.lasts) ?? 0)
      // The rule may have gone meanwhile, and what ends within a second is not worth a row.
      if (lastsMs < 1_000) return Promise.resolve()
      if (!isWithinBudget(agent.name)) {
        flooded(agent)
        return Promise.resolve()
      }
      const before = busy.get(agent.name) ?? Promise.resolve()
      const done = before.then(() => revoke(agent, relay, cidr, lastsMs))
      busy.set(agent.name, done)
      return done
    },
  }
}
