import { randomUUID } from 'node:crypto'
import { openDialler } from '#agent/dial.ts'
import { type Lease, openLease } from '#agent/lease.ts'
import { openOutbox } from '#agent/outbox.ts'
import { openSession } from '#agent/session.ts'
import type { Tombstones } from '#agent/tombstones.ts'
import type { ConnectionEvents, Desired } from '#gen/fleetcat/v1/agent.ts'
import { RelayReport, RelayState } from '#gen/fleetcat/v1/relay.ts'
import type { TlsIdentity } from '#identity/tls.ts'
import type { Logger } from '#telemetry/log.ts'
import { toDuration } from '#wire/duration.ts'
import { sharedNow } from '../clock.ts'

/**
 * An agent with all of the real protocol and nothing behind it: its certificate, session, backoff and outbox are the
 * product's, but a relay is a line in a map, and it answers at once that it listens.
 */
export interface SimulatedAgent extends AsyncDisposable {
  /** When it was last welcomed. */
  readonly welcomedAt: number
  /** When it had applied its first Sync. */
  readonly syncedAt: number
  /** When it was last told that it may go on. */
  readonly leasedAt: number
  /** When it was told to run each relay, and to cut by each revocation. */
  readonly told: ReadonlyMap<string, number>
  readonly attached: boolean
  /** Ends its stream, as a network does: nobody says goodbye. */
  cut(): void
}

const emptySnapshot: ConnectionEvents = { snapshot: true, opened: [], closed: [], traffic: [], brief: 0n }

export function simulateAgent(
  agent: string,
  { address, identity, log }: { address: string; identity: TlsIdentity; log: Logger },
): SimulatedAgent {
  const reports = new Map<string, RelayReport>()
  const told = new Map<string, number>()
  const bootedAt = new Date()
  const bootId = randomUUID()
  let welcomedAt = 0
  let syncedAt = 0
  let leasedAt = 0
  let snapshotDue = false
  let cut = () => {}

  const outbox = openOutbox({
    relays: () => reports.keys(),
    report: id => reports.get(id),
    connections: {
      take() {
        const due = snapshotDue ? emptySnapshot : undefined
        snapshotDue = false
        return due
      },
      restart() {
        snapshotDue = true
      },
    },
    banned: () => [],
    remarks: { take: () => undefined },
    askLease: () => lease.ask(),
  })
  const lease: Lease = openLease({
    clock: () => performance.now(),
    lengths: () => [],
    due: outbox.leaseDue,
    changed() {},
  })

  function run({ relayId, generation, listen }: Desired): void {
    told.set(relayId, sharedNow())
    reports.set(
      relayId,
      RelayReport.fromPartial({ relayId, generation, state: RelayState.READY, local: [listen] }),
    )
    outbox.relayChanged(relayId)
  }

  const inner = openDialler([address], () => ({ ...identity }) as never)
  const session = openSession({
    agent,
    dialler: {
      ...inner,
      open() {
        const client = inner.open()
        const attach = client.attach.bind(client) as () => ReturnType<typeof client.attach>
        return Object.assign(client, {
          attach() {
            const call = attach()
            cut = () => call.cancel()
            return call
          },
        })
      },
    },
    hello: () => ({
      version: 'bench',
      bootId,
      bootedAt,
      hostLabels: { os: 'linux' },
      capabilities: ['TCP'],
      features: [],
    }),
    reconciler: {
      async sync(relays) {
        reports.clear()
        relays.forEach(run)
      },
      async apply(changed, removed) {
        changed.forEach(run)
        for (const id of removed) reports.delete(id)
      },
      async rightsChanged() {},
    },
    lease: {
      granted(nonce) {
        leasedAt = sharedNow()
        lease.granted(nonce)
      },
      lengthsChanged: lease.lengthsChanged,
    },
    tunnels: { offered() {}, withdrawn() {}, present: () => [] },
    dumps: { begin() {} },
    probes: { run: async ({ probeId }) => ({ probeId, result: undefined }) },
    tombstones: forgetful(),
    revocations: {
      banned() {},
      async obey({ revocationId, target }) {
        told.set(revocationId, sharedNow())
        if (target?.$case === 'relayId') reports.delete(target.value)
        return {
          revocationId,
          listenersClosed: 1,
          connectionsCut: 0,
          took: toDuration(0),
          at: new Date(),
          problem: undefined,
          warning: undefined,
        }
      },
    },
    outbox: {
      ...outbox,
      attach(writer) {
        welcomedAt = sharedNow()
        outbox.attach(writer)
      },
    },
    log,
  })
  void session.synced.then(() => {
    syncedAt = sharedNow()
  })

  return {
    get welcomedAt() {
      return welcomedAt
    },
    get syncedAt() {
      return syncedAt
    },
    get leasedAt() {
      return leasedAt
    },
    get attached() {
      return session.attached
    },
    told,
    cut: () => cut(),
    async [Symbol.asyncDispose]() {
      lease[Symbol.dispose]()
      await session[Symbol.asyncDispose]()
    },
  }
}

/** A host that is never started again has nothing to remember on a disk. */
function forgetful(): Pick<Tombstones, 'seen' | 'advance'> {
  let seen = { epoch: 0n, revision: 0n }
  return {
    get seen() {
      return seen
    },
    async advance(next) {
      seen = next
    },
  }
}
