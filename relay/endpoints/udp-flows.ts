/** The conversations of one UDP port, by peer, and never more than `most` of them. */
export interface FlowTable<F> {
  readonly size: number
  /** The flow of this key, which counts as heard from now on. */
  heard(key: string): F | undefined
  add(key: string, flow: F): void
  remove(key: string, flow: F): void
  /** The flow that has to give way, if there are too many; it is still in the table. */
  surplus(): F | undefined
}

/**
 * The one that was silent longest gives way; but those who have spoken once only before those who have come back, so
 * that a flood of made-up peers pushes out itself and not the conversations that were there.
 */
export function openFlowTable<F>(most: number): FlowTable<F> {
  // A Map keeps the order of insertion: the first is always the one that was silent longest.
  const once = new Map<string, F>()
  const again = new Map<string, F>()

  return {
    get size() {
      return once.size + again.size
    },
    heard(key) {
      const home = again.has(key) ? again : once
      const flow = home.get(key)
      if (flow === undefined) return undefined
      home.delete(key)
      again.set(key, flow)
      return flow
    },
    add(key, flow) {
      once.set(key, flow)
    },
    remove(key, flow) {
      for (const home of [once, again]) if (home.get(key) === flow) home.delete(key)
    },
    surplus() {
      if (once.size + again.size <= most) return undefined
      // The one of `once` that came last is the one that needs the place.
      return (once.size > 1 || again.size === 0 ? once : again).values().next().value
    },
  }
}

/** Peers that are not heard for a while. */
export interface ShutPeers {
  has(key: string): boolean
  shut(key: string): void
}

/**
 * A peer whose conversation was cut goes on sending, for nothing tells it; its next datagram must not begin the same
 * conversation anew. It is heard again when it has been silent for `quietMs`. Of more than `most` such peers the one
 * that was silent longest is forgotten.
 */
export function openShutPeers(quietMs: number, most: number, now = () => performance.now()): ShutPeers {
  const silentSince = new Map<string, number>()

  const shut = (key: string) => {
    silentSince.delete(key)
    silentSince.set(key, now())
    if (silentSince.size > most) silentSince.delete(silentSince.keys().next().value!)
  }

  return {
    shut,
    has(key) {
      const since = silentSince.get(key)
      if (since === undefined) return false
      if (now() - since >= quietMs) {
        silentSince.delete(key)
        return false
      }
      shut(key)
      return true
    },
  }
}

/** How much a peer may be sent. */
export interface Allowance {
  received(bytes: number): void
  /** May it be sent this much? What may be sent counts as sent. */
  spend(bytes: number): boolean
}

/**
 * Whoever writes a false source address into a datagram has the answer sent to somebody else; if that is much larger
 * than the question, it is a weapon. So a peer is sent a few times what came from it, until it answers something that
 * was sent to it: then it is where it says it is.
 */
export function openAllowance(times: number): Allowance {
  let received = 0
  let sent = 0
  let answered = false
  return {
    received(bytes) {
      received += bytes
      answered ||= sent > 0
    },
    spend(bytes) {
      if (!answered && sent + bytes > times * received) return false
      sent += bytes
      return true
    },
  }
}
