import type { TLSSocket } from 'node:tls'
import { openCrowd, sourceOf } from './crowd.ts'

/** Those who have finished their handshake without a certificate, until they are gone. */
export interface Strangers {
  enter(socket: TLSSocket): void
}

const most = 256

/**
 * A handshake is cheap for who asks, and each such session costs memory here. Joining takes one short call, so the
 * oldest go first, of the source that holds most: a crowd of one box crowds out itself.
 */
export function openStrangers(turnAway: (socket: TLSSocket) => void): Strangers {
  const crowd = openCrowd<TLSSocket>()
  return {
    enter(socket) {
      crowd.add(sourceOf(socket.remoteAddress), socket)
      socket.once('close', () => crowd.delete(socket))
      if (crowd.size <= most) return
      for (const [oldest] of crowd.bySource()) {
        if (!oldest) continue
        crowd.delete(oldest)
        return turnAway(oldest)
      }
    },
  }
}
