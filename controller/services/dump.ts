import type { ServerReadableStream, sendUnaryData } from '@grpc/grpc-js'
import type { SendDumpRequest, SendDumpResponse } from '#gen/fleetcat/v1/agent.ts'
import { RelayError } from '#relay/errors.ts'
import { toProblem } from '#wire/problem.ts'
import type { DumpLeg } from '../dump.ts'
import { checkFrames, checkProblem } from '../hearsay.ts'
import type { Parts } from '../parts.ts'
import { watchStanding } from '../standing.ts'
import { refusal } from './handlers.ts'

type Stream = ServerReadableStream<SendDumpRequest, SendDumpResponse>
type Said = NonNullable<SendDumpRequest['message']>

/** One agent shows what passes, to an operator who asked. Read no faster than the operator reads. */
export function receiveDump(parts: Parts, stream: Stream, answer: sendUnaryData<SendDumpResponse>): void {
  const { access, mirror, log, dumps } = parts
  const gone = new AbortController()
  let leg: DumpLeg | undefined
  let standing: Disposable | undefined
  const impatience = setTimeout(
    () => fail(new RelayError('timed-out', { what: 'SendDump', why: 'it did not say which dump it is' })),
    parts.firstCallMs,
  )

  function fail(thrown: unknown): void {
    over(() => answer(refusal('sendDump', thrown, log)))
  }

  function over(say: () => void = () => {}): void {
    if (gone.signal.aborted) return
    gone.abort()
    clearTimeout(impatience)
    standing?.[Symbol.dispose]()
    leg?.over.removeEventListener('abort', finish)
    leg?.ended(lost)
    say()
    stream.resume()
  }

  const finish = () => over(() => answer(null, {}))

  function hear(said: Said, agent: string): void {
    if (said.$case === 'dumpId') {
      if (leg) throw new RelayError('usage', { what: 'SendDump', why: 'it said twice which dump it is' })
      clearTimeout(impatience)
      leg = dumps.answer(agent, said.value)
      leg.over.addEventListener('abort', finish)
      if (leg.over.aborted) finish()
      return
    }
    if (!leg)
      throw new RelayError('usage', { what: 'SendDump', why: 'it did not say first which dump it is' })
    if (said.$case === 'end') {
      leg.ended(checkProblem(said.value))
      finish()
      return
    }
    checkFrames(said.value.frames)
    stream.pause()
    leg.frames(said.value, () => stream.resume())
  }

  try {
    const caller = access.agent(stream, 'sendDump')
    standing = watchStanding(mirror, caller, () => access.agent(stream, 'sendDump'), fail)
    stream.on('data', ({ message }: SendDumpRequest) => {
      try {
        if (message && !gone.signal.aborted) hear(message, caller.name)
      } catch (thrown) {
        fail(thrown)
      }
    })
    stream.on('end', finish)
    stream.on('cancelled', () => over())
    stream.on('error', () => over())
  } catch (thrown) {
    parts.refusals(stream, 'sendDump', thrown)
    fail(thrown)
  }
}

const lost = toProblem(
  new RelayError('unavailable', { what: 'the dump', why: 'the agent left, or its connection was lost' }),
)
