import type { Socket } from 'node:net'
import type { Ticket } from '#tunnel/ticket.ts'

/** One tunnel as the place where its ends meet knows it. */
export interface Meeting {
  readonly ticket: Ticket
  /** Its ends have met, and bytes go. */
  joined(): void
  /** It is over: `joined` before, or not at all in time. */
  over(): void
}

/** Why somebody who came with a ticket was let go. */
export type Unmet = 'unknown-ticket' | 'used-ticket'

/**
 * Where the ends of tunnels meet: each ticket is good for one initiator and one answering agent, in either order, and
 * then no more. What goes through is encrypted from end to end, and passed on unread.
 */
export interface Rendezvous extends Disposable {
  expect(meeting: Meeting, withinMs: number): void
  /** Takes the connection over, or says why not. */
  initiator(ticket: Ticket, socket: Socket): Unmet | undefined
  answering(ticket: Ticket, socket: Socket): Unmet | undefined
  /** Both ends are cut at once, or never meet. */
  cut(ticket: Ticket): void
  readonly counts: { readonly live: number; readonly waiting: number; readonly bytes: number }
}

interface Place {
  readonly meeting: Meeting
  timer: NodeJS.Timeout | undefined
  initiator: Socket | undefined
  answering: Socket | undefined
  isJoined: boolean
}

export function openRendezvous(): Rendezvous {
  const places = new Map<Ticket, Place>()
  let live = 0
  let bytes = 0

  function leave(place: Place): void {
    if (places.get(place.meeting.ticket) !== place) return
    places.delete(place.meeting.ticket)
    clearTimeout(place.timer)
    if (place.isJoined) live--
    place.initiator?.destroy()
    place.answering?.destroy()
    place.meeting.over()
  }

  function arrive(ticket: Ticket, side: 'initiator' | 'answering', socket: Socket): Unmet | undefined {
    const place = places.get(ticket)
    if (!place) return 'unknown-ticket'
    if (place[side]) return 'used-ticket'
    place[side] = socket
    socket.setNoDelay(true).setKeepAlive(true, 10_000)
    socket.once('close', () => leave(place))
    const { initiator, answering } = place
    if (initiator && answering) join(place, initiator, answering)
    return undefined
  }

  function join(place: Place, initiator: Socket, answering: Socket): void {
    clearTimeout(place.timer)
    place.isJoined = true
    live++
    const count = (length: number) => {
      bytes += length
    }
    passOn(initiator, answering, count)
    passOn(answering, initiator, count)
    place.meeting.joined()
  }

  return {
    expect(meeting, withinMs) {
      const place: Place = {
        meeting,
        timer: undefined,
        initiator: undefined,
        answering: undefined,
        isJoined: false,
      }
      place.timer = setTimeout(() => leave(place), withinMs)
      places.set(meeting.ticket, place)
    },
    initiator: (ticket, socket) => arrive(ticket, 'initiator', socket),
    answering: (ticket, socket) => arrive(ticket, 'answering', socket),
    cut(ticket) {
      const place = places.get(ticket)
      if (place) leave(place)
    },
    counts: {
      get live() {
        return live
      },
      get waiting() {
        return places.size - live
      },
      get bytes() {
        return bytes
      },
    },
    [Symbol.dispose]() {
      for (const place of [...places.values()]) leave(place)
    },
  }
}

/** As fast as the other side takes it, and no faster. */
function passOn(from: Socket, to: Socket, count: (bytes: number) => void): void {
  from.on('data', chunk => {
    count(chunk.length)
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
  // A tunnel has one end: half of one is of no use to anybody.
  from.once('end', () => to.end())
}
