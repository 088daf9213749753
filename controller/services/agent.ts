import type { ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js'
import type { AttachRequest, AttachResponse, CertificateGrant, Hello } from '#gen/fleetcat/v1/agent.ts'
import type { RelayReport } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { failureOf } from '#wire/failure.ts'
import { toProblem } from '#wire/problem.ts'
import type { Caller } from '../access.ts'
import { checkConnections, checkHello, checkReceipt, checkReport, dates } from '../hearsay.ts'
import { type Host, noteConnections } from '../hosts.ts'
import type { Parts } from '../parts.ts'
import { type AgentSession, openSession, resumeFrom } from '../session.ts'
import { watchStanding } from '../standing.ts'
import { drained, refusal } from './handlers.ts'

type Stream = ServerDuplexStream<AttachRequest, AttachResponse>
type Said = NonNullable<AttachRequest['message']>

/** What a revoked agent gets to close its relays and to send its receipt, before it is shut out. */
const receiptWithinMs = 5_000

/** The agents' end: one long stream each. Who speaks is known from the certificate, and from nothing that is said. */
export function agentService(parts: Parts): UntypedServiceImplementation {
  return {
    attach(stream: Stream) {
      try {
        attach(parts, stream, () => parts.access.agent(stream, 'attach'))
      } catch (thrown) {
        stream.emit('error', refusal('attach', thrown, parts.log))
      }
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
    else removal = setTimeout(() => fail(thrown), receiptWithinMs)
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
    if (!host || host.session !== session) return
    host.session = undefined
    hosts.changed()
    log.info(
      { event: 'agent.detached', agent: caller.name, how: left ? 'left' : 'lost', why: left },
      'agent detached',
    )
    void parts.seen(host)
  }

  function hear(said: Said): void {
    if (said.$case === 'hello') {
      if (session) throw new RelayError('usage', { what: 'Attach', why: 'a second Hello came' })
      clearTimeout(impatience)
      checkHello(said.value)
      host = hosts.of(caller.name)
      session = begin(parts, stream, caller, host, said.value, gone.signal)
      return
    }
    if (!host || !session)
      throw new RelayError('usage', { what: 'Attach', why: 'the first message was not Hello' })
    if (host.session !== session) return // fenced or handed over: its word counts no longer
    host.lastHeardAt = new Date()
    if (said.$case === 'goodbye') {
      left = said.value.reason || 'it said goodbye'
      stream.end()
    } else listen(parts, host, session, said, fail)
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

/** The first word of an agent: older sessions of it end, and this one is told what to run. */
function begin(
  parts: Parts,
  stream: Stream,
  caller: Caller,
  host: Host,
  hello: Hello,
  gone: AbortSignal,
): AgentSession {
  const { hosts, mirror, placement, revocations, log, epoch } = parts
  const bootedAt = hello.bootedAt ?? new Date(0)
  const other = host.session
  const labelsBefore = JSON.stringify(placement.labelsOf(caller.name))

  const clock = new Date()
  // Other labels of its own may place other relays on it, and then the changes alone would not do.
  const sameLabels = JSON.stringify(hello.hostLabels) === JSON.stringify(host.hello?.hostLabels)
  const theirs = { epoch: hello.epoch, rev: hello.revision }
  const resume = sameLabels ? resumeFrom(mirror, caller.name, epoch, theirs) : undefined
  const session = openSession({
    agent: caller.name,
    bootId: hello.bootId,
    bootedAt,
    mirror,
    placement,
    resume,
    pendingOrders: () => revocations.pendingFor(caller.name),
    welcome: {
      $case: 'welcome',
      value: {
        cluster: parts.cluster,
        agent: caller.name,
        labels: mirror.agents.get(caller.name)?.value.labels ?? {},
        epoch,
        resumed: resume !== undefined,
        clock,
      },
    },
    outlet: {
      send: message => gone.aborted || stream.write(message),
      drained: () => drained(stream, gone),
      end: () => stream.end(),
    },
  })

  if (other && other.bootId === hello.bootId) other.goodbye('handed-over')
  else if (other && other.bootedAt > bootedAt) {
    alertDuplicate(parts, caller.name, hello.bootId)
    session.goodbye('fenced')
    return session
  } else if (other) {
    alertDuplicate(parts, caller.name, other.bootId)
    other.goodbye('fenced')
  }

  if (host.hello?.bootId !== hello.bootId) {
    // A new process: what the old one reported is over.
    host.reports.clear()
    host.connections.clear()
  }
  host.session = session
  host.hello = hello
  host.peer = stream.getPeer()
  host.certificateExpiresAt = caller.expiresAt
  host.lastHeardAt = clock
  host.clockAheadMs = hello.clock ? hello.clock.getTime() - clock.getTime() : 0
  hosts.changed()
  if (labelsBefore !== JSON.stringify(placement.labelsOf(caller.name))) session.resync()
  log.info(
    {
      event: 'agent.attached',
      agent: caller.name,
      peer: host.peer,
      version: hello.version,
      resumed: resume !== undefined,
    },
    'agent attached',
  )
  void parts.seen(host)
  return session
}

function alertDuplicate({ log }: Parts, agent: string, fenced: string): void {
  log.warn(
    { event: 'alert.duplicate-identity', agent, fenced },
    'two processes use the identity of one agent: the older one was fenced. If you did not copy its data directory, somebody else did',
  )
}

function listen(
  parts: Parts,
  host: Host,
  session: AgentSession,
  said: Said,
  fail: (thrown: unknown) => void,
): void {
  const { hosts, revocations, credentials, mirror } = parts
  switch (said.$case) {
    case 'reports':
      for (const report of said.value.reports) {
        checkReport(report)
        noteReport(parts, host, session, report)
      }
      hosts.changed()
      break
    case 'connections':
      checkConnections(said.value)
      noteConnections(host, said.value)
      hosts.changed()
      break
    case 'receipt':
      checkReceipt(said.value)
      revocations.noteReceipt(host.name, said.value).then(asked => {
        if (!asked) alertUnasked(parts, host.name, said.value.revocationId)
        if (mirror.agents.get(host.name)?.value.revoked) session.goodbye('removed')
      }, fail)
      break
    case 'certificateRequest':
      if (host.renewing) {
        throw new RelayError('exhausted', {
          what: 'CertificateRequest',
          why: 'the one before is not answered yet',
        })
      }
      host.renewing = true
      credentials
        .renew('agent', host.name, said.value.csrDer)
        .then(granted => ({ ...granted, problem: undefined }))
        .catch((thrown): CertificateGrant => {
          const problem = toProblem(failureOf(thrown, `renew the certificate of ${host.name}`))
          return { certificatePem: '', authorityPem: '', problem }
        })
        .then(grant => {
          host.renewing = false
          session.grant(grant)
        })
      break
    case 'pulse':
      dates('Pulse', [said.value.clock])
      if (said.value.clock) host.clockAheadMs = said.value.clock.getTime() - Date.now()
      break
    case 'applied':
      break
  }
}

/** A relay that ended in between is passed over; one that was never this agent's is a sign of trouble. */
function noteReport(
  { mirror, placement, log }: Parts,
  host: Host,
  session: AgentSession,
  report: RelayReport,
): void {
  const relay = mirror.relaysById.get(report.relayId)
  if (!relay) return
  const its = placement.runsOn(relay, host.name) || session.wasTold(relay.id) || host.reports.has(relay.id)
  if (its) host.reports.set(relay.id, report)
  else {
    log.warn(
      { event: 'alert.foreign-report', agent: host.name, relay: relay.name },
      'an agent reported of a relay that is not its own; it was not counted',
    )
  }
}

function alertUnasked({ log }: Parts, agent: string, revocationId: string): void {
  log.warn(
    { event: 'alert.unasked-receipt', agent, revocationId },
    'an agent sent a receipt for an order that it was never given; it was not counted',
  )
}
