import type { Channel } from '../endpoint.ts'
import { memoryPair } from '../endpoints/memory-pair.ts'
import { RelayError } from '../errors.ts'
import { pump } from '../pump.ts'
import { type Companion, rfc2217Server } from './rfc2217/server.ts'

/**
 * The bytes of `far` and its line in one stream, by RFC 2217: for whoever can carry bytes and nothing else, as a tunnel.
 * Takes `far` over.
 */
export function servedChannel(far: Channel, companion?: Companion): Channel {
  const what = far.peer.text
  const [near, inner] = memoryPair(far.peer, { text: `the client of ${what}` })
  const server = rfc2217Server(inner, companion)
  const leaving = new AbortController()
  const parted = server.joined?.(far, () => true)
  const served = (async () => {
    const { error } = await pump(server, far, {}, leaving.signal)
    // What has cut it is said; through the pair it would be a mere reset.
    if (error && !near.stream.destroyed) near.stream.destroy(error)
    await parted?.()
    await far[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })()
  return {
    ...near,
    abort(reason) {
      far.abort(reason)
      leaving.abort(reason)
      near.abort(reason)
    },
    async [Symbol.asyncDispose]() {
      await near[Symbol.asyncDispose]()
      leaving.abort(new RelayError('closed', { what, why: 'its client has gone' }))
      await served
    },
  }
}
