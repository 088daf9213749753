import type {
  AttachRequest,
  CertificateGrant,
  ConnectionEvents,
  RelayCertificateRequest,
  Remark,
  SourceBanned,
} from '#gen/fleetcat/v1/agent.ts'
import { type Relay, type RelayReport, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { sourceNetwork } from '#relay/ip.ts'
import { failureOf } from '#wire/failure.ts'
import { toProblem } from '#wire/problem.ts'
import type { Note } from './audit/note.ts'
import {
  checkBanned,
  checkCertificateRequest,
  checkConnections,
  checkProbeAnswer,
  checkReceipt,
  checkRemarks,
  checkReports,
  checkTunnelNews,
  dates,
} from './hearsay.ts'
import { type Host, noteConnections, noteReport } from './hosts.ts'
import type { Parts } from './parts.ts'
import type { AgentSession } from './session.ts'

type Said = NonNullable<AttachRequest['message']>

/** What an attached agent says after its Hello. Throws when it makes no sense; then the stream ends. */
export function heed(
  parts: Parts,
  host: Host,
  session: AgentSession,
  said: Said,
  fail: (thrown: unknown) => void,
): void {
  const { hosts, revocations, credentials, former } = parts
  switch (said.$case) {
    case 'reports':
      checkReports(said.value.reports)
      hearReports(parts, host, session, said.value.reports)
      hosts.changed()
      break
    case 'connections':
      checkConnections(said.value)
      hearConnections(parts, host, session, said.value)
      hosts.changed()
      break
    case 'receipt':
      checkReceipt(said.value)
      revocations
        .noteReceipt(actorOf(host), said.value)
        .then(asked => {
          if (!asked) alertUnasked(parts, host.name, session, said.value.revocationId)
          if (revocations.hasLeft(host.name)) session.goodbye('removed')
        })
        .catch(fail)
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
        .renew(actorOf(host), said.value.csrDer)
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
    case 'relayCertificateRequest':
      checkCertificateRequest(said.value)
      hearCertificateRequest(parts, host, session, said.value)
      break
    case 'banned':
      checkBanned(said.value)
      hearBanned(parts, host, session, said.value.sources)
      break
    case 'probe':
      checkProbeAnswer(said.value)
      parts.probes.answer(host.name, said.value)
      break
    case 'remarks':
      checkRemarks(said.value)
      for (const remark of said.value.remarks) hearRemark(parts, host, session, remark)
      parts.remarks.leftOut(host, said.value.leftOut)
      break
    case 'tunnelRequest':
      session.tunnelGrant(parts.tunnels.grant(host, said.value))
      break
    case 'tunnelNews':
      checkTunnelNews(said.value)
      parts.tunnels.heard(host.name, said.value)
      break
    case 'leaseRequest':
      session.lease(said.value.nonce)
      break
    case 'pulse':
      dates('Pulse', [said.value.clock])
      if (said.value.clock) host.clockAheadMs = said.value.clock.getTime() - Date.now()
      break
    case 'applied':
      if (session.confirms(said.value.revision)) former.confirmed(host.name, said.value.revision)
      break
  }
}

/** A relay that ended in between is passed over; one that was never this agent's is a sign of trouble. */
function hearReports(parts: Parts, host: Host, session: AgentSession, reports: readonly RelayReport[]): void {
  for (const report of reports) {
    const relay = parts.mirror.relaysById.get(report.relayId)
    if (!relay) continue
    if (isIts(parts, host, session, relay)) {
      noteTurn(parts, host, relay, report)
      noteReport(host, report)
    } else {
      const words = 'an agent reported of a relay that is not its own; it was not counted'
      lied(parts, host.name, session, 'alert.foreign-report', { relay: relay.name }, words)
    }
  }
}

function hearConnections(parts: Parts, host: Host, session: AgentSession, events: ConnectionEvents): void {
  const { mirror } = parts
  const leaving = new Set(mirror.unanswered(host.name).map(id => mirror.revocations.get(id)?.value.targetId))
  const opened = events.opened.filter(({ relayId, initiator }) => {
    // Operators' own have no relay: what an agent says of them concerns nobody's but its own list.
    if (relayId === '') return initiator?.startsWith('operator/') || initiator?.startsWith('agent/')
    const relay = mirror.relaysById.get(relayId)
    // What a relay still carries that is being revoked has to be seen; what is said of others long gone has not.
    if (!relay) return leaving.has(relayId)
    if (isIts(parts, host, session, relay)) return true
    if (initiator && parts.tunnels.answersFor(host.name, relayId)) return true
    const words = 'an agent reported connections of a relay that is not its own; they were not counted'
    lied(parts, host.name, session, 'alert.foreign-connection', { relay: relay.name }, words)
    return false
  })
  noteConnections(host, { ...events, opened })
}

const actorOf = ({ name, peer }: Host) => ({ kind: 'agent' as const, name, peer })

/** What an agent decided by itself, as the log of the fleet has it. */
const turns: Partial<Record<RelayState, Pick<Note, 'event' | 'outcome' | 'words'>>> = {
  [RelayState.REJECTED]: { event: 'relay.rejected', outcome: 'refused', words: 'an agent refused a relay' },
  [RelayState.LAPSED]: {
    event: 'relay.lapsed',
    outcome: 'alert',
    words: 'an agent closed a relay: it was out of reach for longer than the lease',
  },
  [RelayState.EXPIRED]: { event: 'relay.expired', words: 'an agent closed a relay: its time is over' },
}

function noteTurn({ comings }: Parts, host: Host, relay: Relay, report: RelayReport): void {
  const turn = turns[report.state]
  const before = host.reports.get(relay.id)
  if (!turn || (before?.state === report.state && before.generation === report.generation)) return
  const { generation, problem } = report
  comings.turned(host.name, {
    ...turn,
    by: actorOf(host),
    target: `relay/${relay.name}`,
    fields: { relay: relay.name, id: relay.id, generation, problem },
  })
}

/** Of a relay of its own, and one source each: an agent must not shut anybody else out, nor all the world. */
function hearBanned(parts: Parts, host: Host, session: AgentSession, sources: readonly SourceBanned[]): void {
  for (const source of sources) {
    const relay = parts.mirror.relaysById.get(source.relayId)
    if (!relay) continue
    const fields = { relay: relay.name, source: source.cidr }
    if (!isIts(parts, host, session, relay)) {
      const words = 'an agent shut a source out of a relay that is not its own; it was not heeded'
      lied(parts, host.name, session, 'alert.foreign-ban', fields, words)
    } else if (!isOneSource(source.cidr)) {
      const words = 'an agent shut out what is not one source; it was not heeded'
      lied(parts, host.name, session, 'alert.wide-ban', fields, words)
    } else void parts.automaticBans.note(actorOf(host), relay, source)
  }
}

/** Of a relay that ended in between it still happened; one that was never this agent's is a sign of trouble. */
function hearRemark(parts: Parts, host: Host, session: AgentSession, remark: Remark): void {
  const { relayId } = remark
  const relay = relayId === '' ? undefined : parts.mirror.relaysById.get(relayId)
  if (relay && !isIts(parts, host, session, relay) && !parts.tunnels.answersFor(host.name, relayId)) {
    const words = 'an agent had something to say about a relay that is not its own; it was not heeded'
    lied(parts, host.name, session, 'alert.foreign-remark', { relay: relay.name }, words)
  } else parts.remarks.heard(host, relay?.name, remark)
}

/** A relay that ended in between is only refused; one that was never this agent's is a sign of trouble. */
function hearCertificateRequest(
  parts: Parts,
  host: Host,
  session: AgentSession,
  { nonce, relayId, csrDer }: RelayCertificateRequest,
): void {
  const relay = parts.mirror.relaysById.get(relayId)
  if (relay && !isIts(parts, host, session, relay)) {
    const words = 'an agent asked for the certificate of a relay that is not its own; it got none'
    lied(parts, host.name, session, 'alert.foreign-certificate', { relay: relay.name }, words)
  }
  parts.relayCertificates
    .issue(actorOf(host), relayId, csrDer)
    .then(signed => ({ ...signed, problem: undefined }))
    .catch(thrown => {
      const problem = toProblem(failureOf(thrown, `certificate for relay/${relay?.name ?? relayId}`))
      return { certificatePem: '', authorityPem: '', problem }
    })
    .then(answer => session.relayCertificate({ nonce, ...answer }))
}

function isOneSource(cidr: string): boolean {
  const [ip = ''] = cidr.split('/')
  return sourceNetwork(ip) === cidr
}

function isIts({ placement }: Parts, host: Host, session: AgentSession, relay: Relay): boolean {
  return placement.runsOn(relay, host.name) || session.wasTold(relay.id) || host.reports.has(relay.id)
}

function alertUnasked(parts: Parts, agent: string, session: AgentSession, revocationId: string): void {
  const words = 'an agent sent a receipt for an order that it was never given; it was not counted'
  lied(parts, agent, session, 'alert.unasked-receipt', { revocationId }, words)
}

/** How often each session said what is not its to say. */
const lies = new WeakMap<AgentSession, number>()
const mostLies = 100

/** A mistake may happen once; whoever goes on is sent away. */
function lied(
  parts: Parts,
  agent: string,
  session: AgentSession,
  event: string,
  fields: Record<string, unknown>,
  words: string,
): void {
  const { peer } = parts.hosts.of(agent)
  parts.alerts.raise(agent, {
    by: { kind: 'agent', name: agent, peer },
    event,
    outcome: 'alert',
    target: `agent/${agent}`,
    fields: { agent, ...fields },
    words,
  })
  const told = (lies.get(session) ?? 0) + 1
  lies.set(session, told)
  if (told > mostLies) {
    throw new RelayError('denied', {
      what: `agent/${agent}`,
      why: `more than ${mostLies} times it spoke of what is not its own`,
    })
  }
}
