import type { Socket } from 'node:net'
import { openCrowd, sourceOf } from './crowd.ts'

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
/** The rest is for others, who then begin at once. */
const busyOfOneSource = 48
/** Longer than this nobody is kept in line. */
const longestQueueMs = 60_000

interface Guest {
  readonly peer: string
  readonly socket: Socket
  readonly source: string
  timer: NodeJS.Timeout
  stage: 'silent' | 'queued' | 'shaking hands'
  begin?: () => void
  since: number
}

export function openWaitingRoom(
  { handshakeMs, unfinished }: WaitingRoomLimits,
  turnAway: (socket: Socket, cause: 'too-slow' | 'crowded-out') => void,
): WaitingRoom {
  const guests = new Map<string, Guest>()
  const crowd = openCrowd<Guest>()
  const line = openLine()
  const busy = new Set<Guest>()
  let again: NodeJS.Timeout | undefined

  const within = (ms: number, socket: Socket) => setTimeout(() => turnAway(socket, 'too-slow'), ms)

  /**
   * Peers that stall, and peers that ask for one handshake after the other, must not keep a real host out: who goes is
   * of the source with the most guests, and one that stalls before one that waits for us.
   */
  function tooMany(newcomer: Guest): Guest {
    const now = performance.now()
    const stalled = (guest: Guest) => guest.stage !== 'queued' && now - guest.since >= busyMs
    const silent = (guest: Guest) => guest.stage === 'silent' && guest !== newcomer
    let fullest: ReadonlySet<Guest> | undefined
    for (const guests of crowd.bySource()) {
      const idle = first(guests, stalled) ?? (fullest ? undefined : first(guests, silent))
      if (idle) return idle
      fullest ??= guests
    }
    const waiting = [...(fullest ?? [])].findLast(guest => guest.stage === 'queued')
    return waiting ?? newcomer
  }

  function serve(): void {
    clearTimeout(again)
    again = undefined
    const now = performance.now()
    for (const guest of busy) {
      if (now - guest.since < busyMs) break
      busy.delete(guest)
    }
    const busyOf = (source: string) => [...busy].filter(guest => guest.source === source).length
    while (busy.size < busyAtOnce) {
      const guest = line.next(source => busyOf(source) < busyOfOneSource)
      if (!guest) break
      clearTimeout(guest.timer)
      guest.timer = within(handshakeMs, guest.socket)
      guest.stage = 'shaking hands'
      guest.since = now
      busy.add(guest)
      guest.begin?.()
    }
    if (line.size > 0) again = setTimeout(serve, busyMs / 4)
  }

  return {
    enter(peer, socket) {
      const guest: Guest = {
        peer,
        socket,
        source: sourceOf(socket.remoteAddress),
        timer: within(handshakeMs, socket),
        stage: 'silent',
        since: performance.now(),
      }
      guests.set(peer, guest)
      crowd.add(guest.source, guest)
      if (guests.size > unfinished) turnAway(tooMany(guest).socket, 'crowded-out')
    },
    queue(peer, begin) {
      const guest = guests.get(peer)
      if (!guest) return
      clearTimeout(guest.timer)
      guest.timer = within(longestQueueMs, guest.socket)
      guest.stage = 'queued'
      guest.begin = begin
      line.join(guest)
      serve()
    },
    leave(peer) {
      const guest = guests.get(peer)
      if (!guest) return
      clearTimeout(guest.timer)
      guests.delete(peer)
      crowd.delete(guest)
      line.leave(guest)
      if (busy.delete(guest)) serve()
    },
    [Symbol.dispose]() {
      clearTimeout(again)
      for (const { timer } of guests.values()) clearTimeout(timer)
      guests.clear()
    },
  }
}

/** A line per source, and the sources take turns: who comes alone does not wait behind a crowd. */
function openLine() {
  const lines = new Map<string, Set<Guest>>()
  return {
    get size() {
      return lines.size
    },
    join(guest: Guest): void {
      const line = lines.get(guest.source) ?? new Set()
      lines.set(guest.source, line.add(guest))
    },
    leave(guest: Guest): void {
      const line = lines.get(guest.source)
      if (line?.delete(guest) && line.size === 0) lines.delete(guest.source)
    },
    next(mayBegin: (source: string) => boolean): Guest | undefined {
      for (const [source, line] of lines) {
        const guest = first(line, () => true)
        if (!guest || !mayBegin(source)) continue
        lines.delete(source)
        line.delete(guest)
        if (line.size > 0) lines.set(source, line)
        return guest
      }
      return undefined
    },
  }
}

function first(guests: Iterable<Guest>, wanted: (guest: Guest) => boolean): Guest | undefined {
  for (const guest of guests) if (wanted(guest)) return guest
  return undefined
}
