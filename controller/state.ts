import { join } from 'node:path'
import { type Authority, openAuthority } from '#identity/ca.ts'
import type { Logger } from '#telemetry/log.ts'
import { failureOf } from '#wire/failure.ts'
import { openAccess } from './access.ts'
import { openCluster } from './cluster.ts'
import type { ControllerConfig } from './config.ts'
import { openCredentials } from './credentials.ts'
import { openFanOut } from './fan-out.ts'
import { openFleetFile } from './fleet-file.ts'
import { type Host, openHosts } from './hosts.ts'
import { openMirror } from './mirror.ts'
import type { Parts } from './parts.ts'
import { openPlacement } from './placement.ts'
import { openRelays } from './relays.ts'
import { openRevocations } from './revocations.ts'
import { openSqliteStore } from './store/sqlite.ts'
import { openTables, type Tables } from './tables.ts'
import { openTokens } from './tokens.ts'
import { openViews } from './views.ts'

/** All that a data directory holds, opened; what still lacks is a port. */
export interface State {
  readonly parts: Parts
  readonly authority: Authority
  readonly tables: Tables
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
  const { name: cluster, epoch } = await openCluster(store, tables)
  const authority = await openAuthority(join(dataDir, 'authority'), cluster).catch(thrown => {
    throw failureOf(thrown, `data directory ${dataDir}`)
  })
  const mirror = held.use(await openMirror(store))
  const hosts = openHosts()
  const hostLabels = (agent: string) =>
    hosts.get(agent)?.hello?.hostLabels ?? mirror.seen.get(agent)?.value.hostLabels ?? {}
  const placement = openPlacement(mirror, hostLabels)
  const views = openViews({ mirror, hosts, placement })
  const relays = openRelays({ store, tables, mirror })
  const revocations = openRevocations({ store, tables, mirror, hosts, placement })
  const fleetFile = openFleetFile({ mirror, relays, revocations })
  const credentials = openCredentials({ authority, store, tables, lifetimes: config.certificates, log })
  const access = openAccess({ cluster, mirror, log })
  let addresses: readonly string[] = []
  const advertised = () => ({ addresses, pin: authority.pin })
  const tokens = openTokens({ cluster, store, tables, mirror, credentials, log, advertised })
  held.use(openFanOut({ mirror, hosts, revocations }))

  async function seen(host: Host): Promise<void> {
    const at = (host.lastHeardAt ?? new Date()).toISOString()
    const { version = '', hostLabels = {} } = host.hello ?? {}
    try {
      await store.txn([], [tables.seen.put(host.name, { at, version, hostLabels })])
    } catch (error) {
      // Only the date in a list is at stake.
      log.debug(
        { event: 'seen.not-kept', agent: host.name, error },
        'when the agent was last heard could not be kept',
      )
    }
  }

  const closing = new AbortController()
  const parts: Parts = {
    cluster,
    epoch: BigInt(epoch),
    startedAt: new Date(),
    log,
    store,
    mirror,
    hosts,
    placement,
    views,
    relays,
    fleetFile,
    revocations,
    credentials,
    tokens,
    access,
    closing: closing.signal,
    firstCallMs: config.front['first-call'],
    advertised: () => addresses[0] ?? '',
    seen,
  }
  return {
    parts,
    authority,
    tables,
    located(found) {
      addresses = found
    },
    close: () => closing.abort(),
  }
}
