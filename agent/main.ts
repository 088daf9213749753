import { randomUUID } from 'node:crypto'
import { holdDirectory } from '#disk/hold.ts'
import { kinds } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { metricsAddress } from '#telemetry/metrics.ts'
import { toDuration } from '#wire/duration.ts'
import { features } from '#wire/features.ts'
import { formatHostPort } from '#wire/host-port.ts'
import { parsePlace } from '#wire/tunnel.ts'
import { version } from '#wire/version.ts'
import { openBans } from './bans.ts'
import { openCeiling } from './ceiling.ts'
import { type Config, readConfig } from './config.ts'
import { openDialler } from './dial.ts'
import { openDoorkeeper } from './doorkeeper.ts'
import { openDumps } from './dumps.ts'
import { checkOwnerLabels, hostLabels } from './host.ts'
import { checkUsable, identityDirectory, obtainIdentity } from './identity.ts'
import { type Lease, openLease } from './lease.ts'
import { openMetrics } from './metrics.ts'
import { openOutbox } from './outbox.ts'
import { openProbes } from './probes.ts'
import { openReconciler, type Reconciler } from './reconciler.ts'
import { openRelayCertificates } from './relay-certificates.ts'
import { openRemarks } from './remarks.ts'
import { openRenewal } from './renewal.ts'
import { bothCut, openRevocations } from './revocations.ts'
import { openRoster } from './roster.ts'
import { type Rules, rule } from './rules.ts'
import { openSession, type Session } from './session.ts'
import { openSteadyClock } from './steady-clock.ts'
import { openTombstones } from './tombstones.ts'
import { openTunnels, type Tunnels } from './tunnels/tunnels.ts'

/** Where an agent of this data directory keeps its identity. */
export { identityDirectory } from './identity.ts'

export interface AgentOptions {
  readonly dataDir: string
  /** Default: agent.yaml in the data directory, if it is there. */
  readonly configFile?: string
  /** Further lines of the ceiling, from the command line of the host's owner. */
  readonly permit?: readonly string[]
  /** The text of a join token; not used once the host has joined. */
  readonly join?: string
  readonly name?: string
  readonly hostLabels?: Readonly<Record<string, string>>
  /** `host:port` of the metrics. */
  readonly metrics?: string
  /** `host:port` where tunnels may come straight, without the controller between. */
  readonly tunnelListen?: string
  /** Addresses of the controllers, in place of those that the token gave. */
  readonly controller?: readonly string[]
  readonly log: Logger
}

/** An agent that runs until it is closed or sent away. Disposal closes it. */
export interface RunningAgent extends AsyncDisposable {
  readonly name: string
  /** `host:port` where the metrics are, if they were asked for. */
  readonly metrics: string | undefined
  /** The first Sync is applied. Rejects with a RelayError when the agent ends before. */
  readonly ready: Promise<void>
  /** Resolves once the agent has ended and all its relays are closed; with a reason when it did not ask for it. */
  readonly stopped: Promise<{ why: RelayError | undefined }>
  /** Reads agent.yaml anew and cuts what it no longer permits. Rejects with a RelayError, and then the old one stays. */
  reload(): Promise<void>
  /** Lets live connections finish for a moment, says goodbye, and closes everything. */
  close(): Promise<void>
}

const drainMs = 2_000
const certificateWithinMs = 10_000
const grantWithinMs = 10_000

/** Rejects with a RelayError that says what to do when the host has no identity, or its owner's file is wrong. */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const { dataDir, log } = options
  const bootedAt = new Date()
  const ownerLabels = ({ labels }: Config) => ({ ...labels, ...options.hostLabels })
  let config = await readConfig(options)
  checkOwnerLabels(ownerLabels(config))
  const ceiling = openCeiling(rulesOf(config, options))
  // Before a token is spent on an agent that then cannot start.
  if (options.metrics !== undefined) metricsAddress(options.metrics)
  const held = { identity: await obtainIdentity({ ...options, controllers: options.controller ?? [] }) }
  const { name } = held.identity.identity
  await using starting = new AsyncDisposableStack()
  // A second agent on this directory would be taken for a stolen copy of it, and the first would be fenced.
  starting.use(
    holdDirectory(dataDir, 'agent', {
      what: `agent ${name} cannot start`,
      fix: 'Stop that agent first, or give this one a data directory and a token of its own',
    }),
  )

  const clock = openSteadyClock()
  const bans = openBans(clock)
  const tombstones = starting.use(await openTombstones(dataDir, log))
  const roster = starting.use(openRoster({ due: () => outbox.connectionsChanged() }))
  const remarks = starting.use(openRemarks(log, () => outbox.remarked()))
  const reconciler: Reconciler = starting.use(
    openReconciler({
      agent: name,
      ceiling,
      roster,
      isRevoked: id => revocations.has(id),
      outgoing: cause => tunnels.outgoing(cause),
      remarks,
      isBanned: bans.refuses,
      unwelcome: (relay, ip, rule) => doorkeeper.turnedAway(relay, ip, rule),
      clock,
      wall: Date.now,
      certificates: relay =>
        openRelayCertificates(
          relay,
          request => session.requestRelayCertificate(request, certificateWithinMs),
          log,
        ),
      lease: { holds: length => lease.holds(length), isBegun: () => lease.begun },
      changed: id => outbox.relayChanged(id),
      log,
    }),
  )
  const tunnels: Tunnels = starting.use(
    openTunnels({
      agent: name,
      cluster: held.identity.identity.cluster,
      ceiling,
      roster,
      remarks,
      lease: { holds: length => lease.holds(length) },
      isRevoked: id => revocations.has(id),
      ask: request => session.requestTunnel(request, grantWithinMs),
      identity: () => held.identity,
      controller: () => dialler.place(),
      lengthsChanged: () => lease.lengthsChanged(),
      news: news => session.tunnelNews(news),
      log,
    }),
  )
  const revocations = openRevocations({
    relay: (id, why) => bothCut(reconciler.cutRelay(id, why), tunnels.cutRelay(id, why)),
    connection: (id, why) => bothCut(reconciler.cutConnection(id, why), tunnels.cutConnection(id, why)),
    everything: why => bothCut(reconciler.cutEverything(why), tunnels.cutEverything(why)),
    peer: tunnels.cutPeer,
    banned: reconciler.cutBanned,
    bans,
    tombstones,
    log,
  })
  const doorkeeper = openDoorkeeper({
    clock,
    bans,
    banned() {
      revocations.sourceBanned()
      outbox.sourceBanned()
    },
    log,
  })
  const outbox = openOutbox({
    relays: reconciler.relays,
    report: reconciler.report,
    connections: roster,
    remarks,
    banned: () =>
      bans.own().map(({ relayId, cidr, until }) => {
        return { relayId, cidr, lasts: toDuration(until - clock()) }
      }),
    askLease: () => lease.ask(),
  })
  const lease: Lease = starting.use(
    openLease({
      clock,
      *lengths() {
        yield* reconciler.leases()
        yield* tunnels.leases()
      },
      due: outbox.leaseDue,
      changed() {
        tunnels.rightsChanged()
        void reconciler.rightsChanged()
      },
    }),
  )
  const metrics =
    options.metrics === undefined
      ? undefined
      : starting.use(
          await openMetrics(options.metrics, {
            reconciler,
            roster,
            tunnels,
            isAttached: () => session.attached,
          }),
        )

  const addresses = options.controller?.length ? options.controller : addressesOf(held.identity.details)
  const boot = {
    bootId: randomUUID(),
    bootedAt,
    version,
    capabilities: kinds.map(({ keyword }) => keyword),
    features: [...features],
  }
  const straight =
    options.tunnelListen === undefined ? undefined : parsePlace(options.tunnelListen, '--tunnel-listen')
  const tunnelListen = straight && formatHostPort(await tunnels.listen(straight))
  const dialler = openDialler(addresses, () => {
    checkUsable(held.identity, dataDir)
    return held.identity
  })
  const dumps = starting.use(
    openDumps({ open: dialler.open, watch: reconciler.watch, connections: roster.live, log }),
  )
  const probes = starting.use(openProbes({ ceiling, log }))
  const session: Session = starting.use(
    openSession({
      agent: name,
      dialler,
      hello: () => ({
        ...boot,
        hostLabels: hostLabels(ownerLabels(config)),
        ...(tunnelListen && { tunnelListen }),
      }),
      reconciler,
      lease,
      tombstones,
      revocations,
      dumps,
      probes,
      tunnels,
      outbox,
      log,
    }),
  )
  starting.use(openRenewal({ directory: identityDirectory(dataDir), held, session, log }))

  const parts = starting.move()
  let closing: Promise<void> | undefined
  const shut = () => {
    closing ??= parts.disposeAsync()
    return closing
  }

  const stopped = session.stopped.then(async ({ why }) => {
    if (why) log.error({ event: 'agent.stopped', error: why }, 'the agent stops')
    await shut()
    return { why }
  })
  const ready = Promise.race([
    session.synced,
    stopped.then(({ why }) => {
      throw (
        why ?? new RelayError('closed', { what: `agent ${name}`, why: 'it was closed before it was ready' })
      )
    }),
  ])
  // Nobody has to wait for it.
  ready.catch(() => {})

  async function reload() {
    const next = await readConfig(options)
    checkOwnerLabels(ownerLabels(next))
    const labelled = JSON.stringify(next.labels) !== JSON.stringify(config.labels)
    config = next
    ceiling.replace(rulesOf(config, options))
    await Promise.all([reconciler.recheck(), tunnels.recheck()])
    log.info(
      { event: 'config.reloaded', permit: config.permit.length, forbid: config.forbid.length },
      'configuration reloaded',
    )
    if (labelled) await session.handOver()
  }

  async function close() {
    await reconciler.drain(drainMs)
    await session.leave('shutting-down')
    await stopped
  }

  return {
    name,
    metrics: metrics?.local,
    ready,
    stopped,
    reload,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Both are the host owner's word. */
function rulesOf({ permit, forbid }: Rules, options: AgentOptions): Rules {
  return { permit: [...permit, ...(options.permit ?? []).map(text => rule(text, '--permit'))], forbid }
}

function addressesOf(details: Readonly<Record<string, string | readonly string[]>>): readonly string[] {
  const { controllers } = details
  if (typeof controllers === 'object' && controllers.length > 0) return controllers
  throw new RelayError('usage', {
    what: 'the identity of this host',
    why: 'it does not say where the controller is',
    fix: 'Remove the directory `identity` of the data directory, and join again with a new token',
  })
}
