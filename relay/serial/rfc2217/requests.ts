import { RelayError } from '../../errors.ts'
import { startTimer } from '../../timer.ts'
import { type ComPortMessage, type ComPortNumber, topicOf } from './codec.ts'

/** What a client has asked and waits to be answered. */
export interface Requests {
  /** Says it, and resolves with the answer. Rejects with a RelayError when there is none. */
  ask(name: ComPortNumber, value: number | undefined): Promise<number>
  /** An answer, or what looks like one: servers speak unasked too. */
  answered(name: ComPortNumber, value: number): void
  /** Nobody answers any more. */
  fail(error: RelayError): void
}

interface Waiting {
  readonly resolve: (value: number) => void
  readonly reject: (error: RelayError) => void
}

/** A server that takes longer has not understood. */
const patienceMs = 3_000

export function requests(what: string, say: (message: ComPortMessage) => void): Requests {
  /** By what the answer is about, for one code answers several questions; in the order of asking. */
  const waiting = new Map<string, Waiting[]>()
  let over: RelayError | undefined
  const topic = (name: ComPortNumber, value = 0) => (name === 'control' ? `control ${topicOf(value)}` : name)

  return {
    ask(name, value) {
      if (over) return Promise.reject(over)
      const { promise, resolve, reject } = Promise.withResolvers<number>()
      const queue = waiting.get(topic(name, value)) ?? []
      waiting.set(topic(name, value), queue)
      const entry: Waiting = { resolve, reject }
      queue.push(entry)
      const stopWaiting = startTimer(patienceMs, () => {
        queue.splice(queue.indexOf(entry), 1)
        const why = `its server has not answered within ${patienceMs} ms how \`${name}\` is`
        reject(new RelayError('timed-out', { what, why }))
      })
      say({ name, value })
      return promise.finally(stopWaiting)
    },
    answered(name, value) {
      waiting.get(topic(name, value))?.shift()?.resolve(value)
    },
    fail(error) {
      over ??= error
      for (const queue of waiting.values()) for (const { reject } of queue.splice(0)) reject(over)
    },
  }
}
