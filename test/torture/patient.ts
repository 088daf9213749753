import { setTimeout as delay } from 'node:timers/promises'
import { RelayError } from '#relay/errors.ts'
import type { TestOperator } from '../resources/fleet.ts'

/** What a call fails with while the controller is dead, or dying. */
const passing: readonly string[] = [
  'unavailable',
  'timed-out',
  'unknown-outcome',
  'closed',
  'reset',
  'refused',
]
const patienceMs = 60_000

/** Asks until it is answered: whoever asks for a change has to give the call a request id. */
export function patient({ ask }: TestOperator): TestOperator['ask'] {
  return async (method, request) => {
    const deadline = performance.now() + patienceMs
    for (;;) {
      try {
        return await ask(method, request)
      } catch (thrown) {
        const { code } = RelayError.from(thrown, 'the call')
        if (!passing.includes(code) || performance.now() > deadline) throw thrown
        await delay(100)
      }
    }
  }
}
