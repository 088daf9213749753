import type { Note } from './audit/note.ts'

/** What somebody else can bring about as often as they like. */
export interface Alerts extends Disposable {
  /**
   * Noted at once; what follows of the same event about the same peer is only counted, and noted together each few
   * seconds, so that nobody can fill the logs or hide in them.
   */
  raise(about: string, note: Note): void
}

interface Recent {
  timer: NodeJS.Timeout
  unsaid: number
  last: Note
}

const everyMs = 10_000
/** Of who comes after these, the events are counted together. */
const usualPeers = 1_000
const others = 'others'

export function openAlerts(
  keep: (note: Note) => void,
  { pauseMs = everyMs, mostPeers = usualPeers } = {},
): Alerts {
  const recent = new Map<string, Recent>()

  function rest(key: string): NodeJS.Timeout {
    return setTimeout(() => {
      const entry = recent.get(key)
      if (!entry) return
      if (entry.unsaid === 0) return void recent.delete(key)
      tell(entry.last, entry.unsaid)
      entry.unsaid = 0
      entry.timer = rest(key)
    }, pauseMs).unref()
  }

  function tell(note: Note, count: number): void {
    keep({ ...note, fields: { ...note.fields, count } })
  }

  return {
    raise(about, note) {
      const own = `${note.event} ${about}`
      const key = recent.has(own) || recent.size < mostPeers ? own : `${note.event} ${others}`
      const entry = recent.get(key)
      if (entry) {
        entry.unsaid++
        entry.last = note
        return
      }
      recent.set(key, { timer: rest(key), unsaid: 0, last: note })
      tell(note, 1)
    },
    [Symbol.dispose]() {
      for (const { timer, unsaid, last } of recent.values()) {
        clearTimeout(timer)
        if (unsaid > 0) tell(last, unsaid)
      }
      recent.clear()
    },
  }
}
