/** Tells of changes at once, and of those that follow in quick succession together. */
export interface Pacer extends Disposable {
  soon(id: string): void
  forget(id: string): void
}

/** For each id `tell` is called at most once in `everyMs`. */
export function openPacer(tell: (id: string) => void, everyMs: number): Pacer {
  const waiting = new Map<string, { timer: NodeJS.Timeout; due: boolean }>()

  function begin(id: string) {
    tell(id)
    waiting.set(id, { due: false, timer: setTimeout(end, everyMs, id) })
  }

  function end(id: string) {
    const due = waiting.get(id)?.due
    waiting.delete(id)
    if (due) begin(id)
  }

  return {
    soon(id) {
      const last = waiting.get(id)
      if (last) last.due = true
      else begin(id)
    },
    forget(id) {
      clearTimeout(waiting.get(id)?.timer)
      waiting.delete(id)
    },
    [Symbol.dispose]() {
      for (const { timer } of waiting.values()) clearTimeout(timer)
      waiting.clear()
    },
  }
}
