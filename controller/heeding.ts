import type { AttachRequest, CertificateGrant } from '#gen/fleetcat/v1/agent.ts'
import type { RelayReport } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { failureOf } from '#wire/failure.ts'
import { toProblem } from '#wire/problem.ts'
import { checkConnections, checkReceipt, checkReport, dates } from './hearsay.ts'
import { type Host, noteConnections } from './hosts.ts'
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
