import type {
  AttachResponse,
  Ban,
  CertificateGrant,
  Desired,
  DumpOrder,
  ProbeOrder,
  RelayCertificate,
  RevokeOrder,
  TunnelOffer,
  TunnelWithdrawal,
} from '#gen/fleetcat/v1/agent.ts'
import type { TunnelGrant } from '#gen/fleetcat/v1/relay.ts'
import { understands } from './ability.ts'
import type { Mirror } from './mirror.ts'
import { type Placement, toDesired } from './placement.ts'
import type { Rev } from './store/store.ts'

type Message = NonNullable<AttachResponse['message']>

/** The outgoing half of one agent's stream. `send` answers false when the stream wants to drain first. */
export interface Outlet {
  send(message: AttachResponse): boolean
  drained(): Promise<void>
  end(): void
}

export type GoodbyeReason = 'fenced' | 'handed-over' | 'removed' | 'shutting-down'

/**
 * What has to be said to one attached agent. Nothing is queued but the ids of what changed: an agent that reads
 * slowly gets the newest state once it reads, and past a bound of ids the whole snapshot instead.
 */
export interface AgentSession {
  readonly bootId: string
  /** Was it, on this stream, told to run this relay? */
  wasTold(relayId: string): boolean
  /** May the agent's word that it has applied this revision be believed? Not of what another controller sent it. */
  confirms(revision: Rev): boolean
  /** The relays that changed; those that are none of this agent's concern are passed over. */
  relaysChanged(ids: readonly string[]): void
  /** The agent's own labels or record changed: what it has to run must be worked out anew. */
  resync(): void
  /** Goes out ahead of everything else. */
  order(order: RevokeOrder): void
  grant(grant: CertificateGrant): void
  relayCertificate(answer: RelayCertificate): void
  /** Sources were shut out, or let in again. */
  bansChanged(): void
  /** It may go on, counted from when it asked: said when all else has been said. */
  lease(nonce: bigint): void
  dump(order: DumpOrder): void
  probe(order: ProbeOrder): void
  tunnelGrant(grant: TunnelGrant): void
  /** Said unless it has been taken back by then. */
  tunnelOffer(offer: TunnelOffer, isGood: () => boolean): void
  tunnelWithdrawal(withdrawal: TunnelWithdrawal): void
  /** Says why and ends the stream once it is said. */
  goodbye(reason: GoodbyeReason): void
  /** The stream is gone. */
  lost(): void
}

const mostDirty = 1_000
/** Answers and probes that an agent does not read. The oldest go: it asks again, and nobody waits for an old probe. */
const mostUnread = 1_000

export interface SessionOptions {
  readonly agent: string
  readonly bootId: string
  /** What the agent understands: of a relay that needs more it is told nothing. */
  readonly features: readonly string[]
  readonly outlet: Outlet
  readonly mirror: Mirror
  readonly placement: Placement
  readonly welcome: Message
  /** What to say could not be worked out; the stream must end. */
  failed(thrown: unknown): void
  /** The agent has been told that it may go on. */
  leased(): void
  /** Every source that is shut out now. */
  bans(): Ban[]
  /** Revocations of which this agent has sent no receipt. */
  pendingOrders(): RevokeOrder[]
  /** Before this resolves nothing may be sent of what is placed on the agent: its labels are not on disk yet. */
  readonly placed: Promise<void> | undefined
  /** The ids to bring up to date when the agent resumes; nothing: it needs the whole. */
  readonly resume: readonly string[] | undefined
}

export function openSession(options: SessionOptions): AgentSession {
  const { agent, outlet, mirror, placement, resume } = options
  const urgent: Message[] = [options.welcome]
  const stillGood = new WeakMap<Message, () => boolean>()
  const dirty = new Set<string>(resume)
  /** The relays that this stream has told the agent to run. Of a resumed one, those that the agent kept. */
  const told = new Set(resume ? desired().map(({ relayId }) => relayId) : [])
  let wholeNeeded = resume === undefined
  let isPlaced = options.placed === undefined
  /** The first revision that it was sent here; of a resumed stream all before are known to be ours. */
  let sentFrom: Rev | undefined = resume ? 0n : undefined
  // Who resumes may have missed some.
  let bansDue = resume !== undefined
  let leaseAsked: bigint | undefined
  let farewell: GoodbyeReason | undefined
  let ended = false
  let wake: (() => void) | undefined

  if (resume) for (const order of options.pendingOrders()) urgent.push({ $case: 'revoke', value: order })

  function desired(): Desired[] {
    return placement.desiredOf(agent).filter(each => understands(options.features, each))
  }

  function nudge(): void {
    wake?.()
    wake = undefined
  }

  function next(): Message | undefined {
    for (let first = urgent.shift(); first; first = urgent.shift())
      if (stillGood.get(first)?.() ?? true) return first
    if (farewell || !isPlaced) return undefined
    if (wholeNeeded) return whole()
    if (bansDue) return bans()
    return (dirty.size > 0 ? changes() : undefined) ?? lease()
  }

  function whole(): Message {
    const relays = desired()
    wholeNeeded = false
    dirty.clear()
    told.clear()
    for (const { relayId } of relays) told.add(relayId)
    sentFrom ??= mirror.rev
    bansDue = false
    const revocations = options.pendingOrders()
    return { $case: 'sync', value: { revision: mirror.rev, revocations, relays, bans: options.bans() } }
  }

  function changes(): Message | undefined {
    const ids = [...dirty]
    dirty.clear()
    const changed = []
    const removed = []
    for (const id of ids) {
      const relay = mirror.relaysById.get(id)
      const its = relay && placement.runsOn(relay, agent) ? toDesired(relay) : undefined
      if (its && understands(options.features, its)) {
        told.add(id)
        changed.push(its)
      } else if (told.delete(id) || resume?.includes(id)) removed.push(id)
    }
    if (changed.length === 0 && removed.length === 0) return undefined
    return { $case: 'apply', value: { revision: mirror.rev, changed, removed } }
  }

  function bans(): Message {
    bansDue = false
    return { $case: 'bans', value: { bans: options.bans() } }
  }

  function lease(): Message | undefined {
    if (leaseAsked === undefined) return undefined
    const nonce = leaseAsked
    leaseAsked = undefined
    options.leased()
    return { $case: 'lease', value: { nonce } }
  }

  async function talk(): Promise<void> {
    while (!ended) {
      const message = next()
      if (message) {
        if (!outlet.send({ message })) await outlet.drained()
      } else if (farewell) {
        outlet.send({ message: { $case: 'goodbye', value: { reason: farewell } } })
        outlet.end()
        ended = true
      } else {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    }
  }
  talk().catch(options.failed)
  options.placed?.then(() => {
    isPlaced = true
    nudge()
  }, options.failed)

  return {
    bootId: options.bootId,
    wasTold: relayId => told.has(relayId),
    confirms: revision => sentFrom !== undefined && revision >= sentFrom && revision <= mirror.rev,
    relaysChanged(ids) {
      for (const id of ids) {
        const relay = mirror.relaysById.get(id)
        if (told.has(id) || (relay && placement.runsOn(relay, agent))) dirty.add(id)
      }
      if (dirty.size > mostDirty) wholeNeeded = true
      if (dirty.size > 0) nudge()
    },
    resync() {
      wholeNeeded = true
      nudge()
    },
    order(order) {
      urgent.unshift({ $case: 'revoke', value: order })
      nudge()
    },
    grant(grant) {
      // Of several that an agent does not read only the newest is of use.
      const unread = urgent.findIndex(message => message.$case === 'certificate')
      if (unread >= 0) urgent.splice(unread, 1)
      urgent.push({ $case: 'certificate', value: grant })
      nudge()
    },
    relayCertificate(answer) {
      const unread = urgent.filter(message => message.$case === 'relayCertificate')
      if (unread.length >= mostUnread) urgent.splice(urgent.indexOf(unread[0]!), 1)
      urgent.push({ $case: 'relayCertificate', value: answer })
      nudge()
    },
    bansChanged() {
      bansDue = true
      nudge()
    },
    lease(nonce) {
      leaseAsked = nonce
      nudge()
    },
    dump(order) {
      urgent.push({ $case: 'dump', value: order })
      nudge()
    },
    probe(order) {
      const unread = urgent.filter(message => message.$case === 'probe')
      if (unread.length >= mostUnread) urgent.splice(urgent.indexOf(unread[0]!), 1)
      urgent.push({ $case: 'probe', value: order })
      nudge()
    },
    tunnelGrant(grant) {
      urgent.push({ $case: 'tunnelGrant', value: grant })
      nudge()
    },
    tunnelOffer(offer, isGood) {
      const message: Message = { $case: 'tunnelOffer', value: offer }
      stillGood.set(message, isGood)
      urgent.push(message)
      nudge()
    },
    tunnelWithdrawal(withdrawal) {
      urgent.push({ $case: 'tunnelWithdrawal', value: withdrawal })
      nudge()
    },
    goodbye(reason) {
      farewell ??= reason
      nudge()
    },
    lost() {
      ended = true
      nudge()
    },
  }
}

/** Where an agent that resumes must be brought up to date: the ids that changed since, or nothing for the whole. */
export function resumeFrom(
  mirror: Mirror,
  agent: string,
  epoch: bigint,
  theirs: { epoch: bigint; rev: Rev },
) {
  if (theirs.rev === 0n || theirs.epoch !== epoch || !mirror.agents.has(agent)) return undefined
  if (mirror.labelsSince(agent) > theirs.rev) return undefined
  const changes = mirror.relayChangesSince(theirs.rev)
  return changes && [...new Set(changes.flatMap(change => change.relayIds))]
}
