import { RelayError } from '#relay/errors.ts'
import { stopRequests } from './signals.ts'

/** Work that Ctrl-C ends, and has the time to clean up. */
export interface Stoppable extends Disposable {
  readonly signal: AbortSignal
  /** Was it this process's user who wanted it to end? */
  wasAsked(): boolean
  /** Ends it for another reason. */
  abort(reason: RelayError): void
}

export function stoppable(what: string): Stoppable {
  const stop = stopRequests()
  const controller = new AbortController()
  let asked = false
  void stop.asked.then(() => {
    asked = true
    controller.abort(new RelayError('closed', { what, why: 'it was interrupted' }))
  })
  return {
    signal: controller.signal,
    wasAsked: () => asked,
    abort: reason => controller.abort(reason),
    [Symbol.dispose]: () => stop[Symbol.dispose](),
  }
}
