import type { TLSSocket } from 'node:tls'
import type { Channel, Peer } from '../endpoint.ts'
import { startTimer } from '../timer.ts'

/** How long a reset waits for the goodbye that is on its way already. */
const goodbyeMs = 20

/** An established TLS session as a channel. It takes the session and the channel below it over, errors included. */
export function tlsChannel(tls: TLSSocket, inner: Channel, peer: Peer): Channel {
  const closed = new Promise<void>(resolve => {
    if (tls.closed) resolve()
    else tls.once('close', () => resolve())
  })
  let resetting = false
  // Between pumps nobody may be listening, and an error that nobody hears ends the process.
  tls.on('error', ignore)
  // Node only tells of an error of the channel below, once; a session that nobody reads just then would not know later.
  inner.stream.once('error', error => tls.destroy(error))
  // A peer that renegotiates could show another certificate than the one that was let in.
  tls.disableRenegotiation()
  return {
    stream: tls,
    framing: 'stream',
    peer,
    // OpenSSL encrypts, or copies, within the call.
    borrows: true,
    abort(reason) {
      if (resetting || tls.destroyed) return
      resetting = true
      tls.pause()
      const reset = () => {
        inner.abort(reason)
        tls.destroy()
      }
      // The shutdown goes past the channel below, which therefore cannot know that the kernel refuses a reset until it
      // is over. It never is if the goodbye does not fit into a full buffer; then closing is all there is.
      const shuttingDown = tls.writableEnded && !tls.writableFinished && tls.writableLength === 0
      if (!shuttingDown || tls.errored) return reset()
      const stopWaiting = startTimer(goodbyeMs, () => tls.destroy())
      tls.once('finish', reset).once('close', stopWaiting)
    },
    async [Symbol.asyncDispose]() {
      if (!resetting) {
        await goodbye(tls)
        tls.destroy()
      }
      await closed
      await inner[Symbol.asyncDispose]()
    },
  }
}

/** A careful peer takes a connection that closes without close_notify for one that was cut. */
async function goodbye(tls: TLSSocket): Promise<void> {
  if (tls.destroyed || tls.writableEnded || tls.writableLength > 0) return
  tls.end()
  await new Promise<void>(resolve => setImmediate(resolve))
}

function ignore(): void {}
