import { RelayError } from '#relay/errors.ts'

/** One tunnel that was granted, for as long as it may be there. */
export interface Tunnel {
  readonly id: string
  /** `agent/edge-1`, `operator/ann`. */
  readonly initiator: string
  /** The agent that answers. */
  readonly agent: string
  /** Empty if an operator has opened it. */
  readonly relayId: string
  /** As the initiator wrote it: `@db-1/TCP4:127.0.0.1:5432`. */
  readonly address: string
  readonly onward: readonly string[]
  /** The operator's tunnel for which an agent has opened this one, if it has. */
  readonly onwardOf: string
  readonly state: 'granted' | 'controller' | 'straight'
}

/** What a tunnel is for, and between whom. */
export type Wish = Omit<Tunnel, 'id' | 'state'>

/** A tunnel, and what only those who keep it may touch. */
export interface Held extends Tunnel {
  state: Tunnel['state']
  /** Empty where the two ends have met without it. */
  readonly ticket: string
  /** Resolves when it is over: with the reason if it was taken back. */
  readonly over: PromiseWithResolvers<string | undefined>
  /** The call that it lives under. Another may take it over. */
  holder: AbortSignal | undefined
}

/** The tunnels that there are, and how many each end has. */
export interface Register {
  readonly live: ReadonlyMap<string, Held>
  /** Throws a RelayError `exhausted` when one of these ends, or the controller, has all that it may have. */
  checkRoom(what: string, ...ends: string[]): void
  /** The same as words, if it is so. */
  whyFull(...ends: string[]): string | undefined
  keep(wish: Wish, how: Pick<Held, 'id' | 'state' | 'ticket'>): Held
  /** False: it was forgotten before. */
  forget(tunnel: Held, reason?: string): boolean
}

const mostInAll = 20_000
const mostOfOneEnd = 2_000

export function openRegister(): Register {
  const live = new Map<string, Held>()
  /** By its name: `agent/db-1`. */
  const ofEnd = new Map<string, number>()

  function count({ initiator, agent }: Tunnel, by: 1 | -1): void {
    for (const end of [initiator, `agent/${agent}`]) {
      const now = (ofEnd.get(end) ?? 0) + by
      if (now === 0) ofEnd.delete(end)
      else ofEnd.set(end, now)
    }
  }

  function whyFull(...ends: string[]): string | undefined {
    const full = ends.find(end => (ofEnd.get(end) ?? 0) >= mostOfOneEnd)
    if (full) return `${full} has ${mostOfOneEnd} tunnels already`
    return live.size < mostInAll ? undefined : `there are ${mostInAll} tunnels already`
  }

  return {
    live,
    whyFull,
    checkRoom(what, ...ends) {
      const why = whyFull(...ends)
      if (why !== undefined)
        throw new RelayError('exhausted', { what, why, fix: 'Try again when some have ended' })
    },
    keep(wish, how) {
      const tunnel: Held = { ...wish, ...how, over: Promise.withResolvers(), holder: undefined }
      live.set(tunnel.id, tunnel)
      count(tunnel, 1)
      return tunnel
    },
    forget(tunnel, reason) {
      if (!live.delete(tunnel.id)) return false
      tunnel.over.resolve(reason)
      count(tunnel, -1)
      return true
    },
  }
}
