import type { Remark } from '#gen/fleetcat/v1/agent.ts'
import type { Outcome } from '#telemetry/audit/record.ts'
import type { Host } from './hosts.ts'
import type { Parts } from './parts.ts'

interface Kind {
  readonly outcome: Outcome
  readonly words: (text: string) => string
}

/** What targets have to say, as the audit log has it. What a newer agent says beyond it is passed over. */
const kinds: Readonly<Record<string, Kind>> = {
  'serial.alert': { outcome: 'alert', words: text => `a serial port has said: ${text}` },
  'serial.taken-over': { outcome: 'done', words: text => text },
}

/** A row at once, and then one each few seconds with the last of those that are alike: see `Alerts`. */
export function noteRemark(
  { alerts }: Parts,
  { name: agent, peer }: Host,
  relay: string | undefined,
  { event, subject, text, connectionId: connection, at, count }: Remark,
): void {
  const kind = kinds[event]
  if (!kind) return
  // Each of those who take over has a row; of lines that match, the first and the last.
  const about = event === 'serial.taken-over' ? `${subject} ${text}` : subject
  alerts.raise(`${agent} ${about}`, {
    by: { kind: 'agent', name: agent, peer },
    event,
    target: relay === undefined ? `agent/${agent}` : `relay/${relay}`,
    outcome: kind.outcome,
    fields: { agent, subject, text, at, times: Number(count), ...(connection && { connection }) },
    words: kind.words(text),
  })
}
