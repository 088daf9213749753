import type { Socket } from 'node:net'

/** Those who have come straight and have not shown yet who they are. */
export interface Guests extends Disposable {
  /** Full: somebody of the source that has most goes, who has been there for longest. */
  enter(socket: Socket): void
  leave(socket: Socket): void
}

const most = 256
/** In all, however often it says a byte. */
const patienceMs = 5_000

interface Guest {
  readonly from: string
  readonly timer: NodeJS.Timeout
}

/** `letGo` has to end the guest: it is none any more. */
export function openGuests(letGo: (socket: Socket) => void): Guests {
  const guests = new Map<Socket, Guest>()

  function leave(socket: Socket): void {
    clearTimeout(guests.get(socket)?.timer)
    guests.delete(socket)
  }

  function turnOut(socket: Socket): void {
    leave(socket)
    letGo(socket)
  }

  function crowdOut(): void {
    const counts = new Map<string, number>()
    for (const { from } of guests.values()) counts.set(from, (counts.get(from) ?? 0) + 1)
    const largest = Math.max(...counts.values())
    const first = [...guests].find(([, { from }]) => counts.get(from) === largest)
    if (first) turnOut(first[0])
  }

  return {
    enter(socket) {
      if (guests.size >= most) crowdOut()
      const timer = setTimeout(() => turnOut(socket), patienceMs)
      guests.set(socket, { from: `${socket.remoteAddress}`, timer })
    },
    leave,
    [Symbol.dispose]() {
      for (const socket of [...guests.keys()]) {
        leave(socket)
        socket.destroy()
      }
    },
  }
}
