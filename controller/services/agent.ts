import type {
  ServerDuplexStream,
  ServerReadableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type {
  AttachRequest,
  AttachResponse,
  SendDumpRequest,
  SendDumpResponse,
} from '#gen/fleetcat/v1/agent.ts'
import { RelayError } from '#relay/errors.ts'
import type { Caller } from '../access.ts'
import { greet } from '../greeting.ts'
import { checkHello } from '../hearsay.ts'
import { heed } from '../heeding.ts'
import type { Host } from '../hosts.ts'
import type { Parts } from '../parts.ts'
import type { AgentSession } from '../session.ts'
import { watchStanding } from '../standing.ts'
import { receiveDump } from './dump.ts'
import { refusal } from './handlers.ts'

type Stream = ServerDuplexStream<AttachRequest, AttachResponse>
type DumpStream = ServerReadableStream<SendDumpRequest, SendDumpResponse>
type Said = NonNullable<AttachRequest['message']>

/** What a revoked agent gets to close its relays and to send its receipt, before it is shut out. */
const receiptWithinMs = 5_000

/** The agents' end: one long stream each, and one for each dump that somebody looks at. Who speaks is known from the certificate, and from nothing that is said. */
export function agentService(parts: Parts): UntypedServiceImplementation {
  return {
    attach(stream: Stream) {
      try {
        attach(parts, stream, () => parts.access.agent(stream, 'attach'))
      } catch (thrown) {
        parts.refusals(stream, 'attach', thrown)
        stream.emit('error', refusal('attach', thrown, parts.log))
      }
    },
    sendDump(stream: DumpStream, answer: sendUnaryData<SendDumpResponse>) {
      receiveDump(parts, stream, answer)
    },
  }
}

function attach(parts: Parts, stream: Stream, admit: () => Caller): void {
  const { hosts, mirror, log } = parts
  const caller = admit()
  const gone = new AbortController()
  let session: AgentSession | undefined
  let host: Host | undefined
  let left: string | undefined

  const impatience = setTimeout(() => {
    fail(new RelayError('timed-out', { what: 'Attach', why: 'no Hello came' }))
  }, parts.firstCallMs)
  let removal: NodeJS.Timeout | undefined
  const standing = watchStanding(mirror, caller, admit, thrown => {
    const revoked = thrown instanceof RelayError && thrown.code === 'revoked'
    if (!session || !revoked) fail(thrown)
    else removal = setTimeout(() => fail(thrown), Math.min(receiptWithinMs, parts.firstCallMs))
  })

  function fail(thrown: unknown): void {
    if (gone.signal.aborted) return
    stream.emit('error', refusal('attach', thrown, log))
    over()
  }

  function over(): void {
    if (gone.signal.aborted) return
    gone.abort()
    clearTimeout(impatience)
    clearTimeout(removal)
    standing[Symbol.dispose]()
    session?.lost()
    if (!host || !session || host.session !== session) return
    host.session = undefined
    hosts.changed()
    parts.comings.detached(caller.name, host.peer, left)
    void parts.sightings.note(host)
  }

  function hear(said: Said): void {
    if (said.$case === 'hello') {
      if (host) throw new RelayError('usage', { what: 'Attach', why: 'a second Hello came' })
      clearTimeout(impatience)
      checkHello(said.value)
      host = hosts.of(caller.name)
      session = greet(parts, stream, caller, host, said.value, gone.signal, fail)
      return
    }
    if (!host) throw new RelayError('usage', { what: 'Attach', why: 'the first message was not Hello' })
    if (!session || host.session !== session) return // fenced or handed over: its word counts no longer
    host.lastHeardAt = new Date()
    if (said.$case === 'goodbye') {
      left = said.value.reason || 'it said goodbye'
      stream.end()
    } else heed(parts, host, session, said, fail)
  }

  stream.on('data', (request: AttachRequest) => {
    try {
      if (request.message && !gone.signal.aborted) hear(request.message)
    } catch (thrown) {
      fail(thrown)
    }
  })
  stream.on('end', () => {
    stream.end()
    over()
  })
  stream.on('cancelled', over)
  stream.on('close', over)
  stream.on('error', over)
}
