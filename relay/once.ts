import type { Channel, Endpoint, Listener, OpenContext } from './endpoint.ts'

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
