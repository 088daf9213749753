import type { BanRule } from '#gen/fleetcat/v1/relay.ts'
import { sourceNetwork } from '#relay/ip.ts'
import type { Logger } from '#telemetry/log.ts'
import { limitMs } from '#wire/duration.ts'
import type { Bans } from './bans.ts'
import type { SteadyClock } from './steady-clock.ts'

/** Shuts out who is turned away again and again, without asking anybody. */
export interface Doorkeeper {
  /** An arrival from this IP was turned away, at a relay that has this rule. */
  turnedAway(relay: { readonly id: string; readonly name: string }, ip: string, rule: BanRule): void
}

export interface DoorkeeperContext {
  readonly clock: SteadyClock
  readonly bans: Pick<Bans, 'addOwn' | 'own'>
  /** A source is shut out: what it has open is to be cut, and the controller to be told. */
  readonly banned: () => void
  readonly log: Logger
}

/** Of more sources at a time those are forgotten that were quiet longest. */
const mostSources = 4_096
/** Who comes from very many addresses must fill neither this memory nor the controller's. */
const mostNewAMinute = 60
const mostAtATime = 1_000
const minuteMs = 60_000

export function openDoorkeeper({ clock, bans, banned, log }: DoorkeeperContext): Doorkeeper {
  /** When each was turned away, the newest last: as many as its rule counts. */
  const arrivals = new Map<string, number[]>()
  /** When those were banned, and until when, whom this agent has banned. */
  let made: { readonly at: number; readonly until: number }[] = []
  let hasComplained = false

  function countOf(key: string, now: number, { after, within }: BanRule): number {
    const since = now - (limitMs(within) ?? 0)
    const times = [...(arrivals.get(key) ?? []), now].filter(at => at > since).slice(-after)
    arrivals.delete(key)
    arrivals.set(key, times)
    const [quietest] = arrivals.keys()
    if (arrivals.size > mostSources && quietest !== undefined) arrivals.delete(quietest)
    return times.length
  }

  function hasRoom(now: number): boolean {
    made = made.filter(({ at, until }) => until > now || at > now - minuteMs)
    const isNew = made.filter(({ at }) => at > now - minuteMs).length
    const room = isNew < mostNewAMinute && made.length < mostAtATime
    if (!room && !hasComplained) {
      const most = { newAMinute: mostNewAMinute, atATime: mostAtATime }
      log.warn(
        { event: 'ban.none-left', ...most },
        'too many sources to shut out: the others are only refused',
      )
    }
    hasComplained = !room
    return room
  }

  return {
    turnedAway({ id, name }, ip, rule) {
      const cidr = sourceNetwork(ip)
      if (cidr === undefined) return
      const now = clock()
      const key = `${id} ${cidr}`
      if (countOf(key, now, rule) < rule.after || !hasRoom(now)) return
      arrivals.delete(key)
      const lastsMs = limitMs(rule.lasts) ?? 0
      made.push({ at: now, until: now + lastsMs })
      bans.addOwn({ relayId: id, cidr, until: now + lastsMs })
      const fields = { relay: name, relayId: id, source: cidr, arrivals: rule.after, forMs: lastsMs }
      log.warn(
        { event: 'source.banned', ...fields },
        'a source that was turned away again and again is shut out',
      )
      banned()
    },
  }
}
