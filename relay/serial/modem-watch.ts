import type { ModemLines } from './port.ts'

type Listener = (now: ModemLines, before: ModemLines) => void

/** No driver tells of a change without a thread that waits for it. */
const lookEveryMs = 25

/** Compares modem lines with how they were, while somebody listens. A device that has none is not asked again. */
export function modemWatch(look: () => Promise<ModemLines | undefined>): {
  on(listener: Listener): () => void
  stop(): void
} {
  const listeners = new Set<Listener>()
  let timer: NodeJS.Timeout | undefined
  let before: ModemLines | undefined
  let stopped = false
  let asking = false

  const ask = async () => {
    if (asking) return
    asking = true
    const now = await look().catch(() => undefined)
    asking = false
    if (!now || stopped || listeners.size === 0) return
    const was = before
    before = now
    if (was && !same(was, now)) for (const listener of [...listeners]) listener(now, was)
    if (listeners.size > 0 && !stopped) timer = setTimeout(ask, lookEveryMs)
  }

  const rest = () => {
    clearTimeout(timer)
    timer = undefined
    before = undefined
  }

  return {
    on(listener) {
      listeners.add(listener)
      if (listeners.size === 1 && !stopped) void ask()
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) rest()
      }
    },
    stop() {
      stopped = true
      rest()
    },
  }
}

function same(a: ModemLines, b: ModemLines): boolean {
  return a.cts === b.cts && a.dsr === b.dsr && a.ri === b.ri && a.dcd === b.dcd
}
