import { RelayError } from '#relay/errors.ts'

/** Questions to the controller whose answers come with the nonce that they were asked with, in any order. */
export interface Questions<Answer> {
  /** `send` answers false when there is nobody to ask. Rejects with a RelayError when time runs out. */
  ask(timeoutMs: number, send: (nonce: bigint) => boolean): Promise<Answer>
  answered(answer: Answer): void
  /** Nothing that was asked will be answered. */
  lost(why: string): void
}

export function openQuestions<Answer extends { readonly nonce: bigint }>(what: string): Questions<Answer> {
  const open = new Map<bigint, PromiseWithResolvers<Answer>>()
  let last = 0n

  const failure = (code: 'unavailable' | 'timed-out', why: string) => new RelayError(code, { what, why })

  return {
    async ask(timeoutMs, send) {
      last++
      const nonce = last
      const mine = Promise.withResolvers<Answer>()
      if (!send(nonce)) throw failure('unavailable', 'no session with the controller')
      open.set(nonce, mine)
      const patience = setTimeout(() => mine.reject(failure('timed-out', 'no answer in time')), timeoutMs)
      try {
        return await mine.promise
      } finally {
        clearTimeout(patience)
        open.delete(nonce)
      }
    },
    answered: answer => open.get(answer.nonce)?.resolve(answer),
    lost(why) {
      for (const { reject } of open.values()) reject(failure('unavailable', why))
    },
  }
}
