import type { Logger } from '#telemetry/log.ts'
import type { Rendezvous } from '#tunnel/rendezvous.ts'
import type { Access } from './access.ts'
import type { Alerts } from './alerts.ts'
import type { Comings } from './audit/comings.ts'
import type { Sink } from './audit/sink.ts'
import type { AutomaticBans } from './automatic-bans.ts'
import type { Boots } from './boots.ts'
import type { Credentials } from './credentials.ts'
import type { Dumps } from './dumps.ts'
import type { FleetFile } from './fleet-file.ts'
import type { Former } from './former.ts'
import type { Hosts } from './hosts.ts'
import type { Leases } from './leases.ts'
import type { LocalOperator } from './local-operator.ts'
import type { Locks } from './locks.ts'
import type { Mirror } from './mirror.ts'
import type { Placement } from './placement.ts'
import type { Probes } from './probes.ts'
import type { Refusals } from './refusals.ts'
import type { RelayCertificates } from './relay-certificates.ts'
import type { Relays } from './relays.ts'
import type { Remarks } from './remarks.ts'
import type { Revocations } from './revocations.ts'
import type { Sightings } from './sightings.ts'
import type { Store } from './store/store.ts'
import type { Tokens } from './tokens.ts'
import type { Tunnels } from './tunnels.ts'
import type { Views } from './views.ts'

/** What the services stand on. Made once, in main.ts, in the order in which each needs the ones before. */
export interface Parts {
  readonly cluster: string
  readonly epoch: bigint
  readonly startedAt: Date
  readonly log: Logger
  readonly alerts: Alerts
  readonly remarks: Remarks
  readonly comings: Comings
  /** Absent where no collector is set. */
  readonly sink: Sink | undefined
  readonly refusals: Refusals
  readonly store: Store
  readonly mirror: Mirror
  readonly hosts: Hosts
  readonly leases: Leases
  readonly locks: Locks
  readonly placement: Placement
  readonly former: Former
  readonly sightings: Sightings
  readonly boots: Boots
  readonly views: Views
  readonly relays: Relays
  readonly fleetFile: FleetFile
  readonly revocations: Revocations
  readonly automaticBans: AutomaticBans
  readonly dumps: Dumps
  readonly probes: Probes
  readonly rendezvous: Rendezvous
  readonly tunnels: Tunnels
  readonly credentials: Credentials
  readonly relayCertificates: RelayCertificates
  readonly tokens: Tokens
  readonly localOperator: LocalOperator
  readonly access: Access
  /** Aborts when the controller stops. */
  readonly closing: AbortSignal
  /** How long a peer may take to say what it has to say first, or last. */
  readonly firstCallMs: number
  /** Where agents and operators reach this controller. */
  advertised(): string
}
