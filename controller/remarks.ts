import type { Remark } from '#gen/fleetcat/v1/agent.ts'
import type { Outcome } from '#telemetry/audit/record.ts'
import { type Alerts, openAlerts } from './alerts.ts'
import type { Ledger } from './audit/ledger.ts'
import type { Host } from './hosts.ts'

/** What targets have to say, as the audit log has it. */
export interface Remarks extends Disposable {
  /** A row at once, and then one each few seconds with the last of those that are alike: see `Alerts`. */
  heard(host: Host, relay: string | undefined, remark: Remark): void
  /** So many more had to be left out, for the agent was away for long. */
  leftOut(host: Host, count: bigint): void
}

interface Kind {
  readonly outcome: Outcome
  readonly words: (text: string) => string
}

/** What a newer agent says beyond it is passed over. */
const kinds: Readonly<Record<string, Kind>> = {
  'serial.alert': { outcome: 'alert', words: text => `a serial port has said: ${text}` },
  'serial.taken-over': { outcome: 'done', words: text => text },
}

/** No host has more ports that all talk at once. */
const mostSubjects = 100

export function openRemarks(ledger: Pick<Ledger, 'keep'>): Remarks {
  /** By agent: what one makes up hides neither what others say nor what the controller itself has found. */
  const ofAgent = new Map<string, Alerts>()

  function alertsOf(agent: string): Alerts {
    const alerts = ofAgent.get(agent) ?? openAlerts(ledger.keep, { mostSubjects })
    ofAgent.set(agent, alerts)
    return alerts
  }

  return {
    heard({ name: agent, peer }, relay, { event, subject, text, connectionId: connection, at, count }) {
      const kind = kinds[event]
      if (!kind) return
      // Each of those who take over has a row; of lines that match, the first and the last.
      const about = event === 'serial.taken-over' ? `${subject} ${text}` : subject
      alertsOf(agent).raise(about, {
        by: { kind: 'agent', name: agent, peer },
        event,
        target: relay === undefined ? `agent/${agent}` : `relay/${relay}`,
        outcome: kind.outcome,
        fields: { agent, subject, text, at, times: Number(count), ...(connection && { connection }) },
        words: kind.words(text),
      })
    },
    leftOut({ name: agent, peer }, count) {
      if (count === 0n) return
      alertsOf(agent).raise('', {
        by: { kind: 'agent', name: agent, peer },
        event: 'serial.left-out',
        target: `agent/${agent}`,
        outcome: 'alert',
        fields: { agent, missing: Number(count) },
        words: `${count} remarks about serial ports are missing: the agent was away for too long`,
      })
    },
    [Symbol.dispose]() {
      for (const alerts of ofAgent.values()) alerts[Symbol.dispose]()
      ofAgent.clear()
    },
  }
}
