export interface RepeatOptions {
  readonly pauseMs?: number
  /** Of what is about others than these, the repeats are counted together. */
  readonly mostSubjects?: number
}

/** Tells of what somebody else can bring about as often as they like. */
export interface Repeats<T> extends Disposable {
  /**
   * Told at once; what follows about the same subject is only counted, and told together each few seconds, so that
   * nobody can fill the logs or hide in them.
   */
  raise(kind: string, subject: string, item: T): void
}

interface Recent<T> {
  timer: NodeJS.Timeout
  untold: number
  last: T
}

const everyMs = 10_000
const usualSubjects = 1_000
const others = 'others'

/** `tell` gets the last of them, and how many they are. */
export function openRepeats<T>(
  tell: (item: T, count: number) => void,
  { pauseMs = everyMs, mostSubjects = usualSubjects }: RepeatOptions = {},
): Repeats<T> {
  const recent = new Map<string, Recent<T>>()

  function rest(key: string): NodeJS.Timeout {
    return setTimeout(() => {
      const entry = recent.get(key)
      if (!entry) return
      if (entry.untold === 0) return void recent.delete(key)
      tell(entry.last, entry.untold)
      entry.untold = 0
      entry.timer = rest(key)
    }, pauseMs).unref()
  }

  return {
    raise(kind, subject, item) {
      const own = `${kind} ${subject}`
      const key = recent.has(own) || recent.size < mostSubjects ? own : `${kind} ${others}`
      const entry = recent.get(key)
      if (entry) {
        entry.untold++
        entry.last = item
        return
      }
      recent.set(key, { timer: rest(key), untold: 0, last: item })
      tell(item, 1)
    },
    [Symbol.dispose]() {
      for (const { timer, untold, last } of recent.values()) {
        clearTimeout(timer)
        if (untold > 0) tell(last, untold)
      }
      recent.clear()
    },
  }
}
