import type { Socket } from 'node:net'

export interface WaitingRoomLimits {
  /** To send a whole ClientHello, and again to finish the handshake once it has begun. */
  readonly handshakeMs: number
  /** How many may be in the room; one more crowds somebody out. */
  readonly unfinished: number
}

/** Those who have connected and not yet shown who they are. */
export interface WaitingRoom extends Disposable {
  enter(peer: string, socket: Socket): void
  /** It has asked for a handshake: `begin` is called when its turn has come. */
  queue(peer: string, begin: () => void): void
  /** It has shown who it is, or is gone. */
  leave(peer: string): void
}

/**
 * When a whole fleet comes back at once, handshakes that all run side by side all finish late, past every deadline, and
 * start over for ever. So few begin at a time, in the order of asking. One that has not finished after this time is
 * waiting for its peer and not for us, and no longer holds up the others.
 */
const busyMs = 500
const busyAtOnce = 64
/** Longer than this nobody is kept in line. */
const longestQueueMs = 60_000

interface Guest {
  readonly peer: string
  readonly socket: Socket
  timer: NodeJS.Timeout
  stage: 'silent' | 'queued' | 'shaking hands'
  begin?: () => void
  since: number
}

export function openWaitingRoom(
  { handshakeMs, unfinished }: WaitingRoomLimits,
  turnAway: (socket: Socket, cause: 'too-slow' | 'crowded-out') => void,
): WaitingRoom {
  /** In the order of arrival. */
  const guests = new Map<string, Guest>()
  const line: Guest[] = []
  const busy = new Set<Guest>()
  let again: NodeJS.Timeout | undefined

  const within = (ms: number, socket: Socket) => setTimeout(() => turnAway(socket, 'too-slow'), ms)

  /** Sockets that stall in crowds must not keep a real host out, and those next in line must not lose their place. */
  function tooMany(newcomer: Guest): Guest {
    let stalled: Guest | undefined
    const now = performance.now()
    for (const guest of guests.values()) {
      if (guest.stage === 'silent' && guest !== newcomer) return guest
      if (guest.stage === 'shaking hands' && now - guest.since > busyMs) stalled ??= guest
    }
    return stalled ?? newcomer
  }

  function serve(): void {
    clearTimeout(again)
    again = undefined
    const now = performance.now()
    for (const guest of busy) {
      if (now - guest.since < busyMs) break
      busy.delete(guest)
    }
    while (busy.size < busyAtOnce) {
      const guest = line.shift()
      if (!guest) return
      if (guests.get(guest.peer) !== guest) continue
      clearTimeout(guest.timer)
      guest.timer = within(handshakeMs, guest.socket)
      guest.stage = 'shaking hands'
      guest.since = now
      busy.add(guest)
      guest.begin?.()
    }
    if (line.length > 0) again = setTimeout(serve, busyMs / 4)
  }

  return {
    enter(peer, socket) {
      const timer = within(handshakeMs, socket)
      const guest: Guest = { peer, socket, timer, stage: 'silent', since: performance.now() }
      guests.set(peer, guest)
      if (guests.size > unfinished) turnAway(tooMany(guest).socket, 'crowded-out')
    },
    queue(peer, begin) {
      const guest = guests.get(peer)
      if (!guest) return
      clearTimeout(guest.timer)
      guest.timer = within(longestQueueMs, guest.socket)
      guest.stage = 'queued'
      guest.begin = begin
      line.push(guest)
      serve()
    },
    leave(peer) {
      const guest = guests.get(peer)
      if (!guest) return
      clearTimeout(guest.timer)
      guests.delete(peer)
      if (busy.delete(guest)) serve()
    },
    [Symbol.dispose]() {
      clearTimeout(again)
      for (const { timer } of guests.values()) clearTimeout(timer)
      guests.clear()
      line.length = 0
    },
  }
}
