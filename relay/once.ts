import type { Acceptor, Channel, Dialer, Endpoint, Listener, OpenContext } from './endpoint.ts'
import { RelayError } from './errors.ts'

/**
 * A listener made of a dialer, for a relay whose first address opens rather than listens, as in `socat - TCP:…`: it
 * opens one channel, and that is its one arrival.
 */
export async function dialOnce(endpoint: Endpoint, cx: OpenContext): Promise<Listener> {
  let waiting: Channel | undefined = await endpoint.dialer!.dial(cx)
  return {
    local: endpoint.address.text,
    [Symbol.asyncIterator]: () => ({
      async next() {
        const value = waiting
        waiting = undefined
        return value ? { done: false, value } : { done: true, value: undefined }
      },
    }),
    async [Symbol.asyncDispose]() {
      await waiting?.[Symbol.asyncDispose]()
    },
  }
}

/**
 * A dialer made of a listener, for a relay whose target is waited for, as in `socat - TCP-LISTEN:…`: it listens, and the
 * first to come is its channel; it fails with the first who does not get through the door. `waiting` is told where.
 */
export function acceptOnce(acceptor: Acceptor, waiting: (local: string) => void): Dialer {
  return {
    async dial(cx) {
      let refusal: RelayError | undefined
      const failed = (error: RelayError) => {
        refusal ??= error
        stopped()
      }
      await using listener = await acceptor.listen({ ...cx, failed })
      waiting(listener.local)
      const stopped = () => void listener[Symbol.asyncDispose]()
      cx.signal.addEventListener('abort', stopped, { once: true })
      try {
        for await (const channel of listener) return channel
      } finally {
        cx.signal.removeEventListener('abort', stopped)
      }
      throw refusal ?? RelayError.from(cx.signal.reason, listener.local)
    },
  }
}
