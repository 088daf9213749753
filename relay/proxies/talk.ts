import type { Duplex } from 'node:stream'
import { shown } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { type ErrorCode, RelayError } from '../errors.ts'
import { startTimer } from '../timer.ts'

/**
 * Reads the beginning of what a peer says. It gets all that has come so far, and gives back what that says and how many
 * bytes of it were needed; a problem, when this can never be right; or undefined while something is missing. It must
 * find a problem in what is too long, for that is what bounds the memory of a talk.
 */
export type Parser<T> = (bytes: Buffer) => Parsed<T> | undefined
export type Parsed<T> = { readonly value: T; readonly length: number } | { readonly problem: string }

/** The words that two sides exchange before the bytes of their conversation flow. */
export interface Talk {
  say(words: Buffer | string): void
  /** What the parser makes of the next words. Reads no byte that it does not need: the rest stays in the stream. */
  hear<T>(parse: Parser<T>): Promise<T>
  /** Says the last words before a refusal, and waits a moment until the far side has had a chance to read them. */
  part(words: Buffer | string): Promise<void>
}

export interface TalkOptions {
  /** What fails if the talk does: the address, or whose handshake it is. */
  readonly what: string
  /** What the far side was to speak: `SOCKS5`, `the PROXY protocol`. */
  readonly language: string
  /** The code of what cannot be understood: at a proxy a refusal, of a client wrong words. */
  readonly misspoken: ErrorCode
  readonly withinMs: number
}

/** A client that is told why it is refused may take so long to read it. */
const partingMs = 1_000

/** Says the last words and ends, and waits a moment for the far side to end too: closing at once could overtake them. */
export async function partWith(stream: Duplex, words: Buffer | string): Promise<void> {
  if (stream.destroyed) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const stopWaiting = startTimer(partingMs, resolve)
  stream.once('end', resolve).once('close', resolve).resume().end(words)
  await promise
  stopWaiting()
}

/**
 * Talks over a channel whose stream nobody reads yet, and leaves it so. Rejects with a RelayError; the channel is then
 * closed and disposed.
 */
export async function talkOver<T>(
  inner: Channel,
  { signal }: Pick<OpenContext, 'signal'>,
  { what, language, misspoken, withinMs }: TalkOptions,
  run: (talk: Talk) => Promise<T>,
): Promise<T> {
  const { stream } = inner
  const { promise: givenUp, reject: giveUp } = Promise.withResolvers<never>()
  const onAbort = () => giveUp(RelayError.from(signal.reason, what))
  const onError = (error: Error) => giveUp(RelayError.from(error, what))
  const onClose = () => giveUp(stream.errored ? RelayError.from(stream.errored, what) : hungUp())
  const slow = `the ${language} handshake was not over within ${Math.round(withinMs)} ms`
  const stopTimer = startTimer(withinMs, () => giveUp(new RelayError('timed-out', { what, why: slow })))
  let parted = false

  const hungUp = () =>
    new RelayError('reset', {
      what,
      why: `the far side closed the connection in the middle of the ${language} handshake`,
    })

  function hear<T>(parse: Parser<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    let heard: Buffer = Buffer.alloc(0)
    const onEnd = () => reject(hungUp())
    const onData = (chunk: Buffer) => {
      heard = heard.length === 0 ? chunk : Buffer.concat([heard, chunk])
      const parsed = parse(heard)
      if (!parsed) return
      // In this very turn: a stream that has seen its end takes nothing back later.
      stream.off('data', onData).off('end', onEnd).pause()
      if ('problem' in parsed) {
        const said = `it said \`${shown(heard.toString('latin1', 0, 60))}\``
        return reject(new RelayError(misspoken, { what, why: `${parsed.problem}: ${said}` }))
      }
      if (parsed.length < heard.length) stream.unshift(heard.subarray(parsed.length))
      resolve(parsed.value)
    }
    if (stream.readableEnded) onEnd()
    else stream.on('end', onEnd).on('data', onData).resume()
    return promise
  }

  const talk: Talk = {
    say: words => void stream.write(words),
    hear,
    part(words) {
      parted = true
      return partWith(stream, words)
    },
  }

  stream.on('error', onError).on('close', onClose)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  else if (stream.destroyed) onClose()
  try {
    return await Promise.race([run(talk), givenUp])
  } catch (thrown) {
    const error = RelayError.from(thrown, what)
    if (!parted) inner.abort(error)
    await inner[Symbol.asyncDispose]()
    throw error
  } finally {
    stopTimer()
    signal.removeEventListener('abort', onAbort)
    stream.off('error', onError).off('close', onClose)
  }
}
