import { join } from 'node:path'
import type { Authority } from '#identity/ca.ts'
import type { Logger } from '#telemetry/log.ts'
import { openRendezvous } from '#tunnel/rendezvous.ts'
import { version } from '#wire/version.ts'
import { openAccess } from './access.ts'
import { openAdmission } from './admission.ts'
import { openAlerts } from './alerts.ts'
import { openComings } from './audit/comings.ts'
import { openLedger } from './audit/ledger.ts'
import { openRetention } from './audit/retention.ts'
import { openSink } from './audit/sink.ts'
import { openAutomaticBans } from './automatic-bans.ts'
import { openBoots } from './boots.ts'
import { openCaps } from './caps.ts'
import { openCluster } from './cluster.ts'
import { openCommit } from './commit.ts'
import type { ControllerConfig } from './config.ts'
import { openCredentials } from './credentials.ts'
import { openDumps } from './dumps.ts'
import { openExpiry } from './expiry.ts'
import { openFanOut } from './fan-out.ts'
import { openFleetFile } from './fleet-file.ts'
import { openFormer } from './former.ts'
import { openHosts } from './hosts.ts'
import { openHousekeeping } from './housekeeping.ts'
import { openLeases } from './leases.ts'
import { openLocalOperator } from './local-operator.ts'
import { openLocks } from './locks.ts'
import { openMirror } from './mirror.ts'
import type { Parts } from './parts.ts'
import { openPlacement } from './placement.ts'
import { openProbes } from './probes.ts'
import { openRefusals } from './refusals.ts'
import { openRelayCertificates } from './relay-certificates.ts'
import { openRelays } from './relays.ts'
import { openRemarks } from './remarks.ts'
import { openRevocable } from './revocable.ts'
import { openRevocations } from './revocations.ts'
import { openSightings } from './sightings.ts'
import { openSqliteStore } from './store/sqlite.ts'
import { openTables } from './tables.ts'
import { openTokens } from './tokens.ts'
import { openTunnels } from './tunnels.ts'
import { openUnsaved } from './unsaved.ts'
import { openViews } from './views.ts'

/** All that a data directory holds, opened; what still lacks is a port. */
export interface State {
  readonly parts: Parts
  readonly authority: Authority
  /** The port is open: from now on join tokens can say where. */
  located(addresses: readonly string[]): void
  /** The controller stops: calls that would last for ever end. */
  close(): void
}

export async function openState(
  { dataDir, log }: { dataDir: string; log: Logger },
  config: ControllerConfig,
  held: AsyncDisposableStack,
): Promise<State> {
  const store = held.use(await openSqliteStore(join(dataDir, 'store')))
  const tables = openTables(store)
  const found = await openCluster(store, tables, join(dataDir, 'authority'))
  const { authority } = found
  const { name: cluster, epoch } = found.cluster
  const mirror = held.use(await openMirror(store, log))
  const ledger = openLedger(store, log)
  const alerts = held.use(openAlerts(ledger.keep))
  const remarks = held.use(openRemarks(ledger))
  const refusals = openRefusals(alerts)
  const hosts = openHosts()
  const startedAt = new Date()
  const leases = openLeases()
  // Those on disk: what is placed by others would be forgotten by a crash, and nobody would know whom to ask.
  const hostLabels = (agent: string) => mirror.seen.get(agent)?.value.hostLabels ?? {}
  const placement = openPlacement(mirror, hostLabels)
  const commit = openCommit(store, mirror, log)
  const former = held.use(openFormer({ commit, tables, mirror, placement, log }))
  const sightings = openSightings({ commit, tables, mirror, former, log })
  const unsaved = held.use(openUnsaved({ mirror, log }))
  const views = openViews({ mirror, hosts, leases, placement, unsaved })
  const comings = held.use(openComings({ ledger, leases, placement, mirror, log }))
  const locks = held.use(openLocks(mirror))
  const relays = openRelays({ commit, tables, mirror, former, locks, caps: openCaps(config.policy) })
  const rendezvous = held.use(openRendezvous())
  const tunnels = held.use(openTunnels({ mirror, hosts, placement, ledger, rendezvous }))
  const revocable = openRevocable({ tables, mirror, hosts, former, tunnels })
  const revocations = openRevocations({ commit, tables, mirror, revocable, unsaved, log })
  const automaticBans = openAutomaticBans({ mirror, revocations, alerts, log })
  const dumps = openDumps({ mirror, hosts, placement, ledger })
  const probes = openProbes({ mirror, hosts, placement, ledger })
  const fleetFile = openFleetFile({ mirror, relays, revocations })
  const credentials = openCredentials({ authority, commit, tables, lifetimes: config.certificates, alerts })
  const relayCertificates = openRelayCertificates({
    authority,
    mirror,
    placement,
    ledger,
    lifetimeMs: config.certificates.agent,
  })
  const access = openAccess({ cluster, mirror, alerts })
  let addresses: readonly string[] = []
  const advertised = () => ({ addresses, pin: authority.pin })
  const admission = openAdmission(tables, former)
  const tokens = openTokens({
    cluster,
    commit,
    tables,
    mirror,
    credentials,
    admission,
    locks,
    advertised,
  })
  const localOperator = openLocalOperator({ credentials, admission, commit, mirror })
  held.use(openFanOut({ mirror, hosts, locks, revocations }))
  held.use(openExpiry({ commit, tables, mirror, log }))
  held.use(openHousekeeping({ commit, tables, mirror, former, log }))

  const { syslog, keep, 'keep-rows': keepRows } = config.audit
  const origin = { cluster, version }
  const { audit: auditRows } = store
  const sink =
    syslog && held.use(await openSink({ settings: syslog, rows: auditRows, commit, tables, origin, log }))
  const delivered = () => sink?.delivered
  held.use(openRetention({ rows: auditRows, ledger, keepMs: keep, keepRows, delivered, log }))

  const closing = new AbortController()
  const parts: Parts = {
    cluster,
    epoch: BigInt(epoch),
    startedAt,
    log,
    alerts,
    remarks,
    comings,
    sink,
    refusals,
    store,
    mirror,
    hosts,
    leases,
    locks,
    placement,
    former,
    sightings,
    boots: openBoots(),
    views,
    relays,
    fleetFile,
    revocations,
    automaticBans,
    dumps,
    probes,
    rendezvous,
    tunnels,
    credentials,
    relayCertificates,
    tokens,
    localOperator,
    access,
    closing: closing.signal,
    firstCallMs: config.front['first-call'],
    advertised: () => addresses[0] ?? '',
  }
  return {
    parts,
    authority,
    located(found) {
      addresses = found
    },
    close: () => closing.abort(),
  }
}
