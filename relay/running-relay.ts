import type { RefusalCause } from './admission.ts'
import type { Connection, EndCause } from './connection.ts'
import type { Certificates, Channel, EgressPolicy, Endpoint, Lookup, Peer } from './endpoint.ts'
import type { RelayError } from './errors.ts'
import type { FlowSettings } from './flow-settings.ts'
import type { Sink } from './layers/taps.ts'
import type { Watcher, WatchOptions } from './layers/watcher.ts'
import type { ProgramPolicy } from './programs/policy.ts'
import type { PumpLimits } from './pump.ts'
import type { Remark } from './remark.ts'
import type { TargetStatus } from './targets/target.ts'
import type { Sharing } from './targets/targets.ts'

export type { RefusalCause } from './admission.ts'
export type { Connection, EndCause } from './connection.ts'
export type { TargetStatus } from './targets/target.ts'

export interface RelayLimits {
  readonly maxConnections?: number
  /** New connections a second, in all. */
  readonly ratePerSecond?: number
  /** New connections a second from one source. */
  readonly sourceRatePerSecond?: number
  readonly idleTimeoutMs?: number
  readonly maxConnectionAgeMs?: number
  /** After one side has ended: how long the other may be silent. `defaultHalfCloseMs` if absent. */
  readonly halfCloseMs?: number
  /** CIDRs; if there are any, only clients inside. */
  readonly allowFrom?: readonly string[]
  readonly denyFrom?: readonly string[]
}

export interface RelayPlan extends Sharing {
  readonly id: string
  readonly name: string
  readonly listen: Endpoint
  /** For each connection they are tried until one opens, in the order that `balance` says. */
  readonly targets: readonly Endpoint[]
  readonly limits: RelayLimits
  readonly flow?: FlowSettings
  /** What cannot be opened is not tried again: the retries that its address asks for are all. */
  readonly giveUp?: true
}

export type RelayState =
  | { name: 'pending' }
  | { name: 'ready'; local: readonly string[] }
  /** It does not listen. With `retryAt` it will try again then; without, it will not. */
  | { name: 'rejected'; error: RelayError; retryAt?: Date }
  /** A listener without `fork` has served its one connection. */
  | { name: 'done' }
  | { name: 'closed'; reason: RelayError }

/** Told of all that happens, in order. Must not throw. */
export interface RelayObserver {
  state(state: RelayState): void
  /** Accepted and admitted; its target is not open yet. Each is followed by one `closed`. */
  opened(connection: Connection): void
  /** All its descriptors are gone. */
  closed(connection: Connection, end: { cause: EndCause; error?: RelayError; durationMs: number }): void
  refused(cause: RefusalCause, source: string): void
  /**
   * An arrival from this IP was turned away by a rule, or failed at the door. Never of datagrams, whose senders anybody
   * can forge, nor of those for whom there was only no room.
   */
  unwelcome?(ip: string): void
  /** The target is open, and bytes begin to flow. */
  joined?(connection: Connection, target: Peer): void
  /** No target could be opened for this connection, or it failed at the door: its handshake did. */
  failed(error: RelayError, source: string): void
  /** One of its targets has something to say. */
  remarked?(remark: Remark): void
  /** A target's health has changed, or (many times a second on a busy relay) its counts. */
  target?(target: TargetStatus, change: 'health' | 'counts'): void
}

export interface RelayContext {
  readonly egress: EgressPolicy
  /** What health checks ask; `egress` if absent. */
  readonly checkEgress?: EgressPolicy
  readonly observer: RelayObserver
  readonly lookup?: Lookup
  /** What `cert=auto` takes; refused if absent. */
  readonly certificates?: Certificates
  /** What programs may have that connections start; `defaultPolicy` if absent. */
  readonly programs?: ProgramPolicy
  /** Why nothing may pass any more, if it may not; asked before each connection and each chunk: see `PumpLimits`. */
  readonly barrier?: PumpLimits['barrier']
  /** Is this source shut out, now? What changes here is for arrivals; `cutBanned` is for those that are there. */
  readonly isBanned?: (ip: string) => boolean
  newConnectionId(client: Channel): string
}

/** Disposal is `abort` with the reason that it was stopped. */
export interface RunningRelay extends AsyncDisposable {
  readonly plan: RelayPlan
  readonly state: RelayState
  /** The last 16 transitions. */
  readonly trace: readonly { at: Date; state: string }[]
  /** Those being dialled included. */
  readonly connections: ReadonlyMap<string, Connection>
  /** In the order of the plan. */
  readonly targets: readonly TargetStatus[]
  /** For connections from now on; checks that are to be made otherwise, or no more, stop at once. */
  setSharing(sharing: Sharing): void
  /**
   * At once, and for all. Connections from sources that are no longer allowed are cut, new timeouts hold for live
   * connections too; lower caps and rates are for arrivals. Throws a RelayError `usage` on a bad CIDR, and then
   * nothing has changed.
   */
  setLimits(limits: RelayLimits): void
  /** What goes through its connections, from now on; nothing if it is done or closed. */
  watch(options?: WatchOptions): Watcher
  /** The same as it happens, and before it is passed on: what `sink` takes its time for, all wait for. */
  tap(sink: Sink): void
  /** True once the descriptors of that connection are closed; false if there is no such connection. */
  cut(connectionId: string, reason: RelayError): Promise<boolean>
  /** Cuts the connections of sources that are shut out. Resolves with their number when their descriptors are gone. */
  cutBanned(reason: RelayError): Promise<number>
  /** Closes listener and connections now; resolves when every descriptor is gone. Repeating it changes nothing. */
  abort(reason: RelayError): Promise<{ listenersClosed: number; connectionsCut: number }>
  /** Stops listening and lets live connections finish, for as long as they take. `abort` may overtake it. */
  close(): Promise<void>
}
