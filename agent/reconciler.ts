import type { Desired } from '#gen/fleetcat/v1/agent.ts'
import type { RelayReport } from '#gen/fleetcat/v1/relay.ts'
import { type ErrorCode, RelayError } from '#relay/errors.ts'
import { dumpScope } from '#relay/layers/dump-file.ts'
import { openRelay, type RelayPlan, type RunningRelay, type TargetStatus } from '#relay/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import { pause } from './backoff.ts'
import type { Ceiling } from './ceiling.ts'
import { connectionIds } from './connection-ids.ts'
import type { Doorkeeper } from './doorkeeper.ts'
import { type RelayEgress, relayEgress } from './egress.ts'
import { openPacer } from './pacer.ts'
import { sameButLimits, toPlan } from './plan.ts'
import { programsOf } from './programs.ts'
import { openRefusals } from './refusals.ts'
import type { RelayCertificates } from './relay-certificates.ts'
import type { Remarks } from './remarks.ts'
import { toReport } from './report.ts'
import { type Cut, nothingCut } from './revocations.ts'
import { isOfTime, openRights, type Right, type RightsContext } from './rights.ts'
import type { Roster } from './roster.ts'
import { storyOf } from './story.ts'
import { openTicker } from './ticker.ts'
import type { Cause, Outgoing } from './tunnels/outgoing.ts'
import { type Onlooker, openWatchers } from './watchers.ts'

export interface ReconcilerContext extends RightsContext {
  /** How messages call this host. */
  readonly agent: string
  readonly ceiling: Ceiling
  readonly roster: Pick<Roster, 'live' | 'opened' | 'closed'>
  /** Relays that were revoked: asked for or not, they stay closed. */
  readonly isRevoked: (relayId: string) => boolean
  /** Sources that are shut out of this relay. */
  readonly isBanned: (relayId: string, ip: string) => boolean
  /** An arrival was turned away, or failed at the door, at a relay that bans who comes so again and again. */
  readonly unwelcome: Doorkeeper['turnedAway']
  /** What `cert=auto` takes in this relay, for as long as it runs; refused if absent. */
  readonly certificates?: (relay: Pick<RelayPlan, 'id' | 'name'>) => RelayCertificates
  /** A target has something to say that is no matter of one connection. */
  readonly remarks: Pick<Remarks, 'heard'>
  /** Ways to other hosts; a relay that has addresses there is refused if absent. */
  readonly outgoing?: (cause: Cause) => Outgoing
  /** The report of this relay has changed. */
  readonly changed: (relayId: string) => void
  readonly log: Logger
}

/**
 * Brings what runs in line with what is desired. Level-triggered: only the last word about a relay counts. Each relay
 * has one worker at a time; different relays do not wait for each other.
 */
export interface Reconciler extends AsyncDisposable {
  /**
   * All there is: what is absent closes. Resolves when every relay has opened, been refused or failed for a first time.
   * Never rejects.
   */
  sync(relays: readonly Desired[]): Promise<void>
  /** Changes only. Resolves and never rejects as `sync`. */
  apply(changed: readonly Desired[], removed: readonly string[]): Promise<void>
  /** Cuts now, ahead of any work in progress. The caller has marked the id as revoked before. */
  cutRelay(relayId: string, reason: RelayError): Promise<Cut>
  cutConnection(connectionId: string, reason: RelayError): Promise<Cut>
  /** The connections of sources that are shut out. The caller has marked them before. */
  cutBanned(reason: RelayError): Promise<Cut>
  /** Every relay of this host, as `cutRelay`. */
  cutEverything(reason: RelayError): Promise<Cut>
  /** Looks at every relay and connection again: the ceiling has changed. */
  recheck(): Promise<void>
  /** Looks at every relay whose right to run has ended, or is back. Those that have lost it are cut before it returns. */
  rightsChanged(): Promise<void>
  /** The lengths of the leases of all relays here. */
  leases(): Iterable<number>
  /** Stops listening, opens nothing more, and lets live connections finish for so long. Disposal cuts the rest. */
  drain(ms: number): Promise<void>
  /** Whether that relay runs yet does not matter. Answers how to stop. */
  watch(relayId: string, onlooker: Onlooker): () => void
  relays(): Iterable<string>
  report(relayId: string): RelayReport | undefined
  /** How many relays are in each state. */
  states(): ReadonlyMap<string, number>
  /** The targets that checks have found up or down, of every relay. */
  checked(): Iterable<{ readonly relay: string; readonly target: TargetStatus }>
  /** Refusals of every relay since this boot, by cause. */
  readonly refusals: ReadonlyMap<string, number>
}

interface Running {
  readonly relay: RunningRelay
  readonly egress: RelayEgress
  readonly certificates: RelayCertificates | undefined
  readonly outgoing: Outgoing | undefined
}

/** One relay: what is desired of it, and how far that is done. */
interface Slot {
  readonly id: string
  desired: Desired | undefined
  right: Right
  /** The last desire that has been dealt with, one way or the other. */
  done: Desired | undefined
  running: Running | undefined
  refused: RelayError | undefined
  recheck: boolean
  worker: Promise<void> | undefined
  waiting: (() => void)[]
}

export function openReconciler(cx: ReconcilerContext): Reconciler {
  const slots = new Map<string, Slot>()
  const rights = openRights(cx)
  const ticker = openTicker(
    () => void rightsChanged(),
    () => Math.min(...[...slots.values()].map(({ right }) => rights.changesIn(right))),
  )
  const newConnectionId = connectionIds()
  const refusals = openRefusals(cx.changed)
  const targetNews = { health: openPacer(cx.changed, 250), counts: openPacer(cx.changed, 2_000) }
  const watchers = openWatchers(id => slots.get(id)?.running?.relay)
  let stopping = false

  function want(id: string, desired: Desired | undefined): Promise<void> {
    if (stopping && desired) return Promise.resolve()
    let slot = slots.get(id)
    if (!slot) {
      if (!desired) return Promise.resolve()
      slot = newSlot(id, rights.granted(desired, undefined))
      slots.set(id, slot)
    } else if (desired) slot.right = rights.granted(desired, slot.right)
    slot.desired = desired
    return work(slot)
  }

  /** Resolves when nothing is left to do and the relay has said how it fares. */
  async function work(slot: Slot): Promise<void> {
    // Asked again after each wait: a desire may arrive between a worker's last look and its end.
    do {
      slot.worker ??= converge(slot).finally(() => {
        slot.worker = undefined
      })
      await slot.worker
    } while (isUnfinished(slot))
    // A try is bounded by its address, and the first that fails is a word too.
    while (slots.has(slot.id) && slot.running?.relay.state.name === 'pending')
      await new Promise<void>(resolve => slot.waiting.push(resolve))
  }

  const isUnfinished = (slot: Slot) =>
    slots.get(slot.id) === slot && (slot.recheck || !slot.desired || slot.done !== slot.desired)

  async function converge(slot: Slot): Promise<void> {
    while (isUnfinished(slot)) {
      slot.recheck = false
      const { desired } = slot
      if (!desired) {
        await close(
          slot,
          new RelayError('closed', { what: `relay/${slot.done?.name ?? slot.id}`, why: 'removed' }),
        )
        if (slot.desired) continue
        slots.delete(slot.id)
        refusals.forget(slot.id)
        for (const pacer of Object.values(targetNews)) pacer.forget(slot.id)
        watchers.ended(slot.id, noLongerHere(slot))
        wake(slot)
        if (slot.done && !stopping && !cx.isRevoked(slot.id))
          cx.log.info({ event: 'relay.removed', relay: slot.done.name, relayId: slot.id }, 'relay removed')
        return
      }
      const plan = permitted(slot, desired)
      if (plan instanceof RelayError) await refuse(slot, desired, plan)
      else await run(slot, desired, plan)
    }
  }

  function permitted(slot: Slot, desired: Desired): RelayPlan | RelayError {
    try {
      if (cx.isRevoked(slot.id)) throw new RelayError('revoked', { what: 'the relay', why: 'it was revoked' })
      const barred = barrier(slot)
      if (barred) throw barred
      const plan = toPlan(desired)
      cx.ceiling.checkListen(plan.listen)
      for (const target of [...plan.targets, ...(plan.flow?.tee ?? [])]) cx.ceiling.checkTarget(target)
      const file = plan.flow?.dump?.file
      if (file) cx.ceiling.check(dumpScope(file.path))
      return plan
    } catch (thrown) {
      const place = `relay/${desired.name} on ${cx.agent}`
      const error = RelayError.from(thrown, `${place} rejected`)
      return error.within(`${place} ${standings[error.code] ?? 'rejected'}`)
    }
  }

  const barrier = ({ id, desired, right }: Slot) => rights.barrier(desired?.name ?? id, right)

  function noLongerHere({ id, done }: Slot): RelayError {
    const what = `relay/${done?.name ?? id} on ${cx.agent}`
    if (cx.isRevoked(id)) return new RelayError('revoked', { what, why: 'it was revoked' })
    return new RelayError('closed', { what, why: 'it does not run there any more' })
  }

  async function refuse(slot: Slot, desired: Desired, why: RelayError): Promise<void> {
    await close(slot, why)
    slot.done = desired
    const isNews = slot.refused?.message !== why.message
    slot.refused = why
    if (isNews && (why.code !== 'lapsed' || cx.lease.isBegun())) {
      const word = isOfTime(why) ? why.code : 'rejected'
      const fields = { event: `relay.${word}`, relay: desired.name, relayId: slot.id, error: why }
      if (why.code === 'expired' || why.code === 'out-of-hours') cx.log.info(fields, `relay ${word}`)
      else cx.log.warn(fields, `relay ${word}`)
    }
    told(slot)
  }

  async function run(slot: Slot, desired: Desired, plan: RelayPlan): Promise<void> {
    const { running, done } = slot
    if (running && done && sameButLimits(done, desired)) {
      const problem = changeLimits(running, plan)
      if (problem) return refuse(slot, desired, problem)
      slot.done = desired
      told(slot)
      return cutWhatIsNoLongerPermitted(running)
    }
    await close(
      slot,
      new RelayError('closed', { what: `relay/${desired.name}`, why: 'its addresses or settings changed' }),
    )
    // A revocation, another desire or another ceiling may have come while the old relay closed.
    if (slot.recheck || slot.desired !== desired || cx.isRevoked(slot.id)) return
    slot.done = desired
    slot.refused = undefined
    const egress = relayEgress(plan, cx.ceiling)
    const certificates = cx.certificates?.(plan)
    const outgoing = cx.outgoing?.({ relayId: plan.id, onwardOf: '', name: `relay/${plan.name}` })
    const reaching = outgoing?.planned(plan) ?? plan
    slot.running = { egress, certificates, outgoing, relay: open(slot, reaching, egress, certificates) }
    watchers.opened(slot.running.relay)
    told(slot)
  }

  function open(
    slot: Slot,
    plan: RelayPlan,
    egress: RelayEgress,
    certificates: RelayCertificates | undefined,
  ): RunningRelay {
    const story = storyOf(cx.log, plan)
    const relay = openRelay(plan, {
      egress,
      ...(certificates && { certificates }),
      programs: programsOf(cx.log, plan),
      checkEgress: cx.ceiling,
      newConnectionId,
      barrier: () => barrier(slot),
      isBanned: ip => cx.isBanned(slot.id, ip),
      observer: {
        state(state) {
          story.state(state)
          told(slot)
        },
        opened(connection) {
          cx.roster.opened(connection)
          story.opened(connection)
        },
        closed(connection, ending) {
          cx.roster.closed(connection, ending)
          watchers.closed(connection)
          story.closed(connection, ending)
          if (relay.connections.size === 0) egress.forget()
        },
        refused(cause, source) {
          refusals.count(slot.id, cause)
          story.refused(cause, source)
        },
        unwelcome(ip) {
          const { name = '', limits } = slot.desired ?? {}
          if (limits?.ban) cx.unwelcome({ id: slot.id, name }, ip, limits.ban)
        },
        remarked: remark => cx.remarks.heard(plan, remark),
        failed(error, source) {
          refusals.count(slot.id, error.code)
          story.failed(error, source)
        },
        target(target, change) {
          if (change === 'health') story.target?.(target, change)
          targetNews[change].soon(slot.id)
        },
      },
    })
    return relay
  }

  async function close(slot: Slot, reason: RelayError): Promise<Cut> {
    const { running } = slot
    if (!running) return nothingCut
    const cut = await running.relay.abort(reason)
    await running.relay[Symbol.asyncDispose]()
    running.certificates?.[Symbol.dispose]()
    await running.outgoing?.[Symbol.asyncDispose]()
    if (slot.running === running) slot.running = undefined
    return cut
  }

  async function cutWhatIsNoLongerPermitted({ relay, egress }: Running): Promise<void> {
    const cuts = [...relay.connections.values()].map(async connection => {
      const why = egress.refusal(connection)
      if (why) await relay.cut(connection.id, why)
    })
    await Promise.all(cuts)
  }

  function told(slot: Slot) {
    wake(slot)
    cx.changed(slot.id)
  }

  function wake(slot: Slot) {
    for (const resolve of slot.waiting.splice(0)) resolve()
  }

  const all = async (work: Promise<void>[]) => {
    await Promise.all(work)
  }

  async function cutRelay(relayId: string, reason: RelayError): Promise<Cut> {
    const slot = slots.get(relayId)
    if (!slot) return nothingCut
    slot.desired = undefined
    const cut = await close(slot, reason)
    await work(slot)
    return cut
  }

  function rightsChanged(): Promise<void> {
    const due = [...slots.values()].filter(slot => {
      const { desired, refused, running } = slot
      if (!desired) return false
      const barred = barrier(slot)?.code
      // What is done holds nothing open, and must not be done again when it may run again.
      if (running?.relay.state.name === 'done' && barred !== 'expired') return false
      return barred !== (refused && isOfTime(refused) ? refused.code : undefined)
    })
    return all(
      due.map(slot => {
        slot.recheck = true
        // Now, and not when the relay's worker gets to it.
        const why = barrier(slot)
        if (why) void slot.running?.relay.abort(why)
        return work(slot)
      }),
    )
  }

  return {
    refusals: refusals.total,
    sync(relays) {
      const wanted = new Set(relays.map(({ relayId }) => relayId))
      const absent = [...slots.keys()].filter(id => !wanted.has(id))
      return all([...absent.map(id => want(id, undefined)), ...relays.map(d => want(d.relayId, d))])
    },
    apply: (changed, removed) =>
      all([...removed.map(id => want(id, undefined)), ...changed.map(d => want(d.relayId, d))]),
    cutRelay,
    async cutBanned(reason) {
      const running = [...slots.values()].flatMap(slot => (slot.running ? [slot.running.relay] : []))
      const counts = await Promise.all(running.map(relay => relay.cutBanned(reason)))
      return { listenersClosed: 0, connectionsCut: counts.reduce((sum, count) => sum + count, 0) }
    },
    async cutEverything(reason) {
      const cuts = await Promise.all([...slots.keys()].map(id => cutRelay(id, reason)))
      return {
        listenersClosed: cuts.reduce((sum, cut) => sum + cut.listenersClosed, 0),
        connectionsCut: cuts.reduce((sum, cut) => sum + cut.connectionsCut, 0),
      }
    },
    async cutConnection(connectionId, reason) {
      const relayId = cx.roster.live.get(connectionId)?.relayId
      const running = relayId === undefined ? undefined : slots.get(relayId)?.running?.relay
      const done = await running?.cut(connectionId, reason)
      return done ? { listenersClosed: 0, connectionsCut: 1 } : nothingCut
    },
    watch: watchers.add,
    recheck: () =>
      all(
        [...slots.values()].map(slot => {
          slot.recheck = true
          return work(slot)
        }),
      ),
    rightsChanged,
    *leases() {
      for (const { desired, right } of slots.values()) if (desired) yield right.leaseMs
    },
    relays: () => slots.keys(),
    states() {
      const states = new Map<string, number>()
      for (const { running, refused } of slots.values()) {
        const state = refused
          ? isOfTime(refused)
            ? refused.code
            : 'rejected'
          : (running?.relay.state.name ?? 'pending')
        states.set(state, (states.get(state) ?? 0) + 1)
      }
      return states
    },
    *checked() {
      for (const { running, refused } of slots.values()) {
        if (!running || refused) continue
        const { plan, targets } = running.relay
        for (const target of targets) if (target.health !== 'unknown') yield { relay: plan.name, target }
      }
    },
    report(relayId) {
      const slot = slots.get(relayId)
      return (
        slot &&
        toReport({
          relayId,
          generation: slot.done?.generation ?? 0n,
          running: slot.running?.relay,
          opensAt: slot.refused?.code === 'out-of-hours' ? rights.opensAt(slot.right) : undefined,
          refused: slot.refused?.code === 'lapsed' && !cx.lease.isBegun() ? undefined : slot.refused,
          refusals: refusals.of(relayId),
        })
      )
    },
    async drain(ms) {
      stopping = true
      const running = [...slots.values()].flatMap(slot => (slot.running ? [slot.running.relay.close()] : []))
      const patience = new AbortController()
      await Promise.race([Promise.all(running), pause(ms, patience.signal)])
      patience.abort()
    },
    async [Symbol.asyncDispose]() {
      stopping = true
      ticker[Symbol.dispose]()
      await all([...slots.keys()].map(id => want(id, undefined)))
      refusals[Symbol.dispose]()
      for (const pacer of Object.values(targetNews)) pacer[Symbol.dispose]()
    },
  }
}

function changeLimits({ relay }: Running, { name, limits, ...plan }: RelayPlan): RelayError | undefined {
  try {
    relay.setLimits(limits)
    relay.setSharing(plan)
    return undefined
  } catch (thrown) {
    return RelayError.from(thrown, `relay/${name}`)
  }
}

/** What its right to run has come to is no refusal. */
const standings: Partial<Record<ErrorCode, string>> = {
  'out-of-hours': 'is closed',
  lapsed: 'has lapsed',
  expired: 'has expired',
  revoked: 'is revoked',
}

const newSlot = (id: string, right: Right): Slot => ({
  id,
  desired: undefined,
  right,
  done: undefined,
  running: undefined,
  refused: undefined,
  recheck: false,
  worker: undefined,
  waiting: [],
})
