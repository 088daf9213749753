import type { Logger } from '#telemetry/log.ts'

/** Warnings that somebody else can bring about as often as they like. */
export interface Alerts extends Disposable {
  /**
   * A line at once; what follows of the same event about the same peer is only counted, and said in one line each few
   * seconds, so that nobody can fill the log or hide in it.
   */
  raise(event: string, about: string, fields: Record<string, unknown>, words: string): void
}

interface Recent {
  timer: NodeJS.Timeout
  unsaid: number
  say(count: number): void
}

const everyMs = 10_000
/** Of who comes after these, the events are counted together. */
const mostPeers = 1_000
const others = 'others'

export function openAlerts(log: Logger, pauseMs = everyMs): Alerts {
  const recent = new Map<string, Recent>()

  function rest(key: string): NodeJS.Timeout {
    return setTimeout(() => {
      const entry = recent.get(key)
      if (!entry) return
      if (entry.unsaid === 0) return void recent.delete(key)
      entry.say(entry.unsaid)
      entry.unsaid = 0
      entry.timer = rest(key)
    }, pauseMs)
  }

  return {
    raise(event, about, fields, words) {
      const own = `${event} ${about}`
      const key = recent.has(own) || recent.size < mostPeers ? own : `${event} ${others}`
      const entry = recent.get(key)
      const say = (count: number) => log.warn({ event, ...fields, count }, words)
      if (entry) {
        entry.unsaid++
        entry.say = say
        return
      }
      recent.set(key, { timer: rest(key), unsaid: 0, say })
      say(1)
    },
    [Symbol.dispose]() {
      for (const { timer, unsaid, say } of recent.values()) {
        clearTimeout(timer)
        if (unsaid > 0) say(unsaid)
      }
      recent.clear()
    },
  }
}
