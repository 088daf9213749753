import type {
  AttachRequest,
  ConnectionEvents,
  ProbeAnswer,
  Remarks,
  SourceBanned,
} from '#gen/fleetcat/v1/agent.ts'
import type { Receipt, RelayReport } from '#gen/fleetcat/v1/relay.ts'

type Message = NonNullable<AttachRequest['message']>

/** Where messages go. `write` answers false when nothing more should be written before `drained` is called. */
export interface Writer {
  write(message: AttachRequest): boolean
}

export interface OutboxSources {
  readonly relays: () => Iterable<string>
  readonly report: (relayId: string) => RelayReport | undefined
  readonly connections: { take(): ConnectionEvents | undefined; restart(): void }
  /** The sources that this agent has shut out, and of which the controller has not said that it knows. */
  readonly banned: () => SourceBanned[]
  /** What targets have to say. */
  readonly remarks: { take(): Remarks | undefined }
  /** The nonce of a new question for the lease, which counts from this moment. */
  readonly askLease: () => bigint
}

/**
 * What the controller has yet to hear. It holds no queue of events: reports are flags that are read when they can be
 * written, connections are the roster's, so that a slow controller costs no memory. Receipts alone wait in line.
 */
export interface Outbox {
  /** From now on to this writer, which knows nothing yet: every relay is reported, and every connection. */
  attach(writer: Writer): void
  /** Nothing is written until the next `attach`. Has no effect once another writer took over. */
  detach(writer: Writer): void
  /** The writer takes more. */
  drained(writer: Writer): void
  relayChanged(relayId: string): void
  connectionsChanged(): void
  receipt(receipt: Receipt): void
  applied(revision: bigint): void
  pulse(): void
  /** This agent has shut a source out. */
  sourceBanned(): void
  /** A target has something to say. */
  remarked(): void
  /** The answer to a probe. Who does not read loses the oldest: nobody waits for those any more. */
  probed(answer: ProbeAnswer): void
  /** Asks for the lease, ahead of all but receipts. */
  leaseDue(): void
}

const reportsInOne = 500
const mostProbed = 100

export function openOutbox(sources: OutboxSources): Outbox {
  let writer: Writer | undefined
  let full = false
  let scheduled = false
  const receipts: Receipt[] = []
  const probed: ProbeAnswer[] = []
  const dirty = new Set<string>()
  let applied: bigint | undefined
  let appliedDue = false
  let pulseDue = false
  let bannedDue = false
  let leaseDue = false

  function next(): Message | undefined {
    const receipt = receipts.shift()
    if (receipt) return { $case: 'receipt', value: receipt }
    if (leaseDue) {
      leaseDue = false
      return { $case: 'leaseRequest', value: { nonce: sources.askLease() } }
    }
    const answer = probed.shift()
    if (answer) return { $case: 'probe', value: answer }
    if (bannedDue) {
      bannedDue = false
      const banned = sources.banned()
      if (banned.length > 0) return { $case: 'banned', value: { sources: banned } }
    }
    const reports = takeReports()
    if (reports.length > 0) return { $case: 'reports', value: { reports } }
    if (appliedDue && applied !== undefined) {
      appliedDue = false
      return { $case: 'applied', value: { revision: applied } }
    }
    const remarks = sources.remarks.take()
    if (remarks) return { $case: 'remarks', value: remarks }
    const connections = sources.connections.take()
    if (connections) return { $case: 'connections', value: connections }
    if (pulseDue) {
      pulseDue = false
      return { $case: 'pulse', value: { clock: new Date() } }
    }
    return undefined
  }

  function takeReports(): RelayReport[] {
    const reports: RelayReport[] = []
    for (const id of dirty) {
      if (reports.length === reportsInOne) break
      dirty.delete(id)
      const report = sources.report(id)
      if (report) reports.push(report)
    }
    return reports
  }

  function flush() {
    while (writer && !full) {
      const message = next()
      if (!message) return
      full = !writer.write({ message })
    }
  }

  /** At the end of this turn of the event loop: what changes together goes out together. */
  function soon() {
    if (scheduled || !writer || full) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      flush()
    })
  }

  return {
    attach(next) {
      writer = next
      full = false
      for (const id of sources.relays()) dirty.add(id)
      appliedDue = applied !== undefined
      leaseDue = true
      bannedDue = true
      sources.connections.restart()
      flush()
    },
    detach(old) {
      if (writer === old) writer = undefined
    },
    drained(who) {
      if (writer !== who) return
      full = false
      flush()
    },
    relayChanged(relayId) {
      dirty.add(relayId)
      soon()
    },
    connectionsChanged: soon,
    remarked: soon,
    receipt(receipt) {
      receipts.push(receipt)
      flush()
    },
    probed(answer) {
      if (probed.push(answer) > mostProbed) probed.shift()
      flush()
    },
    applied(revision) {
      applied = revision
      appliedDue = true
      soon()
    },
    sourceBanned() {
      bannedDue = true
      soon()
    },
    pulse() {
      pulseDue = true
      soon()
    },
    leaseDue() {
      leaseDue = true
      flush()
    },
  }
}
