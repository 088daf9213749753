import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { memoryPair } from './memory-pair.ts'

/** What answers at the far end of a channel that leads nowhere else. A rejection resets the conversation. */
export type Service = (far: Channel) => void | Promise<void>

/** A conversation with a service of this very process. Disposing it waits until the service is done with it. */
export function openInside(scope: Address, cx: OpenContext, service: Service): Channel {
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  cx.egress.check(scope)
  const [near, far] = memoryPair({ text: scope.text }, { text: `the client of ${scope.text}` })
  const served = Promise.resolve()
    .then(() => service(far))
    .catch(error => far.abort(RelayError.from(error, scope.text)))
  return {
    ...near,
    async [Symbol.asyncDispose]() {
      await near[Symbol.asyncDispose]()
      await far[Symbol.asyncDispose]()
      await served
    },
  }
}
