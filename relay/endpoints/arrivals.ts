import type { Channel, Listener, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'

/** The listener half that all listening kinds share: a bounded queue between the kernel and the relay. */
export interface Arrivals extends Listener {
  /** Hands over what has arrived. It is aborted if it is refused, or if nobody will take it any more. */
  offer(channel: Channel): void
  /** Ends the iteration with `error`, after what is still queued. */
  fail(error: RelayError): void
}

export interface ArrivalsOptions {
  readonly local: string
  /** Without: one channel, and the listening socket is closed as soon as it has arrived, as in socat. */
  readonly fork: boolean
  /** How many may wait to be taken; the next is turned away. */
  readonly queue: number
  /** Closes the listening socket, at once. Called once. */
  close(): void
}

export function openArrivals(cx: OpenContext, options: ArrivalsOptions): Arrivals {
  const { local, fork, queue, close } = options
  const gone = new RelayError('closed', { what: `the connection with ${local}`, why: 'it was turned away' })
  const waiting: Channel[] = []
  let wake: (() => void) | undefined
  let over: { error?: RelayError } | undefined

  const end = (error?: RelayError) => {
    if (over) return
    over = error ? { error } : {}
    close()
    wake?.()
  }

  return {
    local,
    offer(channel) {
      if (over) return channel.abort(gone)
      if (waiting.length >= queue) {
        cx.turnedAway?.('queue-full', channel.peer)
        return channel.abort(gone)
      }
      if (cx.admit && !cx.admit(channel.peer)) return channel.abort(gone)
      waiting.push(channel)
      wake?.()
      if (!fork) end()
    },
    turnAway(isUnwelcome) {
      for (const channel of waiting.filter(({ peer }) => isUnwelcome(peer))) {
        waiting.splice(waiting.indexOf(channel), 1)
        channel.abort(gone)
      }
    },
    fail: end,
    [Symbol.asyncIterator]() {
      return {
        async next() {
          while (waiting.length === 0 && !over) {
            await new Promise<void>(resolve => {
              wake = resolve
            })
          }
          const channel = waiting.shift()
          if (channel) return { done: false, value: channel }
          if (over?.error) throw over.error
          return { done: true, value: undefined }
        },
      }
    },
    async [Symbol.asyncDispose]() {
      end()
      const left = waiting.splice(0)
      for (const channel of left) channel.abort(gone)
      await Promise.all(left.map(channel => channel[Symbol.asyncDispose]()))
    },
  }
}
