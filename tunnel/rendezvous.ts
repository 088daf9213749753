import { type FlowEnd, startFlow } from '#relay/flow.ts'
import type { Arrival } from './arrivals.ts'
import type { Ticket } from './ticket.ts'

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
  initiator(ticket: Ticket, end: Arrival): Unmet | undefined
  answering(ticket: Ticket, end: Arrival): Unmet | undefined
  /** Both ends are cut at once, or never meet. */
  cut(ticket: Ticket): void
  readonly counts: { readonly live: number; readonly waiting: number; readonly bytes: number }
}

interface Place {
  readonly meeting: Meeting
  timer: NodeJS.Timeout | undefined
  initiator: Arrival | undefined
  answering: Arrival | undefined
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
    place.initiator?.socket.destroy()
    place.answering?.socket.destroy()
    place.meeting.over()
  }

  function arrive(ticket: Ticket, side: 'initiator' | 'answering', end: Arrival): Unmet | undefined {
    const place = places.get(ticket)
    if (!place) return 'unknown-ticket'
    if (place[side]) return 'used-ticket'
    place[side] = end
    const { socket } = end
    socket.setNoDelay(true).setKeepAlive(true, 10_000)
    socket.once('close', () => leave(place))
    const { initiator, answering } = place
    if (initiator && answering) join(place, initiator, answering)
    return undefined
  }

  function join(place: Place, initiator: Arrival, answering: Arrival): void {
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
    initiator: (ticket, end) => arrive(ticket, 'initiator', end),
    answering: (ticket, end) => arrive(ticket, 'answering', end),
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
function passOn(from: Arrival, to: Arrival, count: (bytes: number) => void): void {
  startFlow(endOf(from), endOf(to), bytes => {
    count(bytes.length)
    return true
  })
  // A tunnel has one end: half of one is of no use to anybody.
  from.socket.once('end', () => to.socket.end())
}

const endOf = ({ socket, reads }: Arrival): FlowEnd => ({
  stream: socket,
  borrows: true,
  ...(reads && { lender: reads }),
})
