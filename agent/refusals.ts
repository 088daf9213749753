/** Connections that were turned away, by cause. */
export interface Refusals extends Disposable {
  readonly total: ReadonlyMap<string, number>
  of(relayId: string): ReadonlyMap<string, number>
  count(relayId: string, cause: string): void
  forget(relayId: string): void
}

const none: ReadonlyMap<string, number> = new Map()

/** They come in floods: `changed` is called a few times a second at most for each relay. */
export function openRefusals(changed: (relayId: string) => void, everyMs = 250): Refusals {
  const total = new Map<string, number>()
  const byRelay = new Map<string, Map<string, number>>()
  const counted = new Set<string>()
  let timer: NodeJS.Timeout | undefined

  function tell() {
    timer = undefined
    const ids = [...counted]
    counted.clear()
    for (const id of ids) changed(id)
  }

  return {
    total,
    of: relayId => byRelay.get(relayId) ?? none,
    count(relayId, cause) {
      const own = byRelay.get(relayId) ?? new Map<string, number>()
      byRelay.set(relayId, own)
      own.set(cause, (own.get(cause) ?? 0) + 1)
      total.set(cause, (total.get(cause) ?? 0) + 1)
      counted.add(relayId)
      timer ??= setTimeout(tell, everyMs)
    },
    forget(relayId) {
      byRelay.delete(relayId)
      counted.delete(relayId)
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
    },
  }
}
