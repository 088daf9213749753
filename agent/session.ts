import type {
  CertificateGrant,
  Hello,
  RelayCertificate,
  RelayCertificateRequest,
  TunnelNews,
  TunnelRequest,
} from '#gen/fleetcat/v1/agent.ts'
import type { TunnelGrant } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { type Attachment, attach, type End, type Order } from './attachment.ts'
import { openBackoff, pause } from './backoff.ts'
import type { Dialler } from './dial.ts'
import type { Dumps } from './dumps.ts'
import { adviceFor, finalWord, isRejection, olderController, revokedMeanwhile } from './farewells.ts'
import type { Lease } from './lease.ts'
import type { Outbox } from './outbox.ts'
import type { Probes } from './probes.ts'
import { openQuestions } from './questions.ts'
import type { Reconciler } from './reconciler.ts'
import type { Revocations } from './revocations.ts'
import type { Tombstones } from './tombstones.ts'
import type { Incoming } from './tunnels/incoming.ts'

export interface SessionContext {
  readonly agent: string
  /** Opened anew for each stream. */
  readonly dialler: Dialler
  readonly hello: () => Omit<Hello, 'epoch' | 'revision' | 'seenRevision' | 'clock'>
  readonly reconciler: Pick<Reconciler, 'sync' | 'apply' | 'rightsChanged'>
  readonly lease: Pick<Lease, 'granted' | 'lengthsChanged'>
  readonly tombstones: Pick<Tombstones, 'seen' | 'advance'>
  readonly revocations: Pick<Revocations, 'obey' | 'banned'>
  readonly dumps: Pick<Dumps, 'begin'>
  readonly probes: Pick<Probes, 'run'>
  readonly tunnels: Pick<Incoming, 'offered' | 'withdrawn'>
  readonly outbox: Outbox
  readonly log: Logger
  readonly pulseMs?: number
}

/** Keeps this agent attached to its controller, for as long as both want it. */
export interface Session extends AsyncDisposable {
  readonly attached: boolean
  /** The first Sync is applied, and the first lease is held. */
  readonly synced: Promise<void>
  /** Resolves when the session will not come back: with the reason, or without one after `leave`. */
  readonly stopped: Promise<{ why: RelayError | undefined }>
  /** Resolves with the controller's answer. Rejects with a RelayError when the stream ends or time runs out before. */
  requestCertificate(csrDer: Buffer, timeoutMs: number): Promise<CertificateGrant>
  /** The same, for a relay; any number may be asked for at a time. */
  requestRelayCertificate(
    request: Omit<RelayCertificateRequest, 'nonce'>,
    timeoutMs: number,
  ): Promise<RelayCertificate>
  /** The same, for a tunnel. */
  requestTunnel(request: Omit<TunnelRequest, 'nonce'>, timeoutMs: number): Promise<TunnelGrant>
  /** What became of a tunnel; lost if nobody hears it. */
  tunnelNews(news: TunnelNews): void
  /** Opens a second stream with the identity of this moment and lets the first one end; nothing else notices. */
  handOver(): Promise<void>
  /** Says goodbye and ends. */
  leave(reason: string): Promise<void>
}

/** A stream that lived this long was a good one: the next try starts without waiting. */
const goodMs = 5_000
const oldStreamMs = 10_000

export function openSession(cx: SessionContext): Session {
  const { log, outbox } = cx
  const over = new AbortController()
  const synced = Promise.withResolvers<void>()
  const stopped = Promise.withResolvers<{ why: RelayError | undefined }>()
  // A lease of a minute is asked for each twenty seconds, and a controller that was away for half a minute has to find
  // its agents back before the lease ends.
  const lossBackoff = openBackoff({ baseMs: 200, capMs: 5_000 })
  const rejectionBackoff = openBackoff({ baseMs: 4_000, capMs: 60_000 })
  /** Where to resume: what this process has been told. What this host has ever seen the tombstones know. */
  const told = { epoch: 0n, revision: 0n }
  let current: Attachment | undefined
  let handingOver: Promise<unknown> | undefined
  const retiring = new Set<Attachment>()
  let applying: Promise<unknown> = Promise.resolve()
  let grant: PromiseWithResolvers<CertificateGrant> | undefined
  const relayCertificates = openQuestions<RelayCertificate>('the certificate of a relay')
  const tunnelGrants = openQuestions<TunnelGrant>('the tunnel')
  let lastFailure = ''
  let isTold = false

  async function open(): Promise<Attachment | End> {
    try {
      return await attach({
        client: cx.dialler.open(),
        hello: {
          ...cx.hello(),
          epoch: cx.tombstones.seen.epoch,
          revision: told.revision,
          seenRevision: cx.tombstones.seen.revision,
          clock: new Date(),
        },
        signal: over.signal,
        welcomed,
        received,
        drained: attachment => outbox.drained(attachment),
      })
    } catch (thrown) {
      return { how: 'lost', error: RelayError.from(thrown, 'the session with the controller') }
    }
  }

  function welcomed(attachment: Attachment) {
    const { welcome } = attachment
    if (over.signal.aborted) throw RelayError.from(over.signal.reason, 'the session')
    const { seen } = cx.tombstones
    if (welcome.epoch < seen.epoch)
      throw olderController(`its epoch is ${welcome.epoch}, and this agent has seen ${seen.epoch}`)
    if (welcome.epoch > told.epoch) told.revision = 0n
    told.epoch = welcome.epoch
    if (welcome.epoch > seen.epoch) remember(0n)
    current = attachment
    lastFailure = ''
    const { resumed, cluster, labels, clock } = welcome
    log.info(
      { event: resumed ? 'session.resumed' : 'session.attached', cluster, resumed, labels },
      resumed ? 'session resumed' : 'session attached',
    )
    warnOfClock(clock)
    outbox.attach(attachment)
  }

  function received(order: Order, attachment: Attachment) {
    // An order to cut is good from whichever stream it comes; what to run is the newest stream's to say.
    if (order.$case === 'revoke') return void cx.revocations.obey(order.value).then(outbox.receipt)
    if (order.$case === 'relayCertificate') return relayCertificates.answered(order.value)
    if (attachment !== current) return
    if (order.$case === 'certificate') return grant?.resolve(order.value)
    if (order.$case === 'lease') return leased(order.value.nonce)
    if (order.$case === 'bans') return cx.revocations.banned(order.value.bans)
    if (order.$case === 'dump') return cx.dumps.begin(order.value)
    if (order.$case === 'probe') return void cx.probes.run(order.value).then(outbox.probed)
    if (order.$case === 'tunnelGrant') return tunnelGrants.answered(order.value)
    if (order.$case === 'tunnelOffer') return cx.tunnels.offered(order.value)
    if (order.$case === 'tunnelWithdrawal')
      return cx.tunnels.withdrawn(order.value.tunnelId, order.value.reason)
    const { revision } = order.value
    if (order.$case === 'apply') {
      // A stream that took over may repeat what the old one has delivered.
      if (revision < told.revision) return
      advance(revision, cx.reconciler.apply(order.value.changed, order.value.removed))
      cx.lease.lengthsChanged()
      return
    }
    const { seen } = cx.tombstones
    if (revision < seen.revision) {
      const why = olderController(`its revision is ${revision}, and this agent has seen ${seen.revision}`)
      attachment.refuse(why)
      return
    }
    // Each is marked at once, so nothing of it can open while the others are cut.
    const cuts = order.value.revocations.map(revocation =>
      cx.revocations.obey(revocation).then(outbox.receipt),
    )
    isTold = true
    cx.revocations.banned(order.value.bans)
    advance(revision, Promise.all([...cuts, cx.reconciler.sync(order.value.relays)]))
  }

  /** The controller says it when it has said all else: what it wants is known, and now may run. */
  function leased(nonce: bigint) {
    cx.lease.granted(nonce)
    if (isTold) void Promise.all([applying, cx.reconciler.rightsChanged()]).then(() => synced.resolve())
  }

  function advance(revision: bigint, work: Promise<unknown>): Promise<void> {
    told.revision = revision
    const { epoch } = told
    const applied = Promise.all([applying, work, remember(revision)]).then(() => {
      if (told.epoch === epoch) outbox.applied(revision)
    })
    applying = applied
    return applied
  }

  /** Nothing waits for the disk but the word that all is applied; a disk that fails has been complained of. */
  function remember(revision: bigint): Promise<void> {
    return cx.tombstones.advance({ epoch: told.epoch, revision }).catch(() => {})
  }

  function warnOfClock(theirs: Date | undefined) {
    if (!theirs || Math.abs(Date.now() - theirs.getTime()) < 60_000) return
    log.warn(
      { event: 'clock.differs', here: new Date(), there: theirs },
      'the clocks of this host and of the controller differ',
    )
  }

  async function run() {
    while (!over.signal.aborted) {
      const since = performance.now()
      const opened = await open()
      const end = 'how' in opened ? opened : await tenure(opened)
      if (over.signal.aborted) return
      const final = end.how === 'goodbye' ? finalWord(end.reason, cx.agent) : revokedMeanwhile(end.error)
      if (final) return stop(final)
      if (performance.now() - since > goodMs) {
        lossBackoff.reset()
        rejectionBackoff.reset()
      }
      await pause(judge(end), over.signal)
    }
  }

  /** From a welcome to the end, over any number of hand-overs. */
  async function tenure(first: Attachment): Promise<End> {
    let mine = first
    for (;;) {
      const end = await mine.ended
      await handingOver
      if (!current || current === mine) {
        current = undefined
        outbox.detach(mine)
        grant?.reject(new RelayError('unavailable', { what: 'the renewal', why: 'the session ended' }))
        for (const questions of [relayCertificates, tunnelGrants]) questions.lost('the session ended')
        return end
      }
      mine = current
    }
  }

  /** Says what happened, once for each kind of trouble, and how long to wait. */
  function judge(end: End): number {
    if (end.how === 'goodbye') {
      log.warn({ event: 'session.goodbye', reason: end.reason }, 'session ended by the controller')
      return lossBackoff.next()
    }
    const { error } = end
    cx.dialler.failed()
    const rejected = isRejection(error)
    const repeated = lastFailure === error.message
    lastFailure = error.message
    if (rejected)
      log.error(
        { event: 'session.rejected', error, fix: adviceFor(error) },
        'the controller does not accept this agent',
      )
    else if (repeated) log.debug({ event: 'session.lost', why: error.message }, 'session lost')
    else log.warn({ event: 'session.lost', why: error.message }, 'session lost')
    // At least a little: a controller that says no at once would be asked without pause.
    return rejected ? 1_000 + rejectionBackoff.next() : lossBackoff.next()
  }

  function stop(why: RelayError | undefined) {
    over.abort(why ?? new RelayError('closed', { what: 'the session', why: 'the agent stops' }))
    clearInterval(pulse)
    for (const questions of [relayCertificates, tunnelGrants]) questions.lost('the agent stops')
    const reason = new RelayError('closed', { what: 'the old stream', why: 'the agent stops' })
    for (const old of retiring) old.abandon(reason)
    stopped.resolve({ why })
  }

  async function retire(old: Attachment) {
    const patience = setTimeout(
      () => old.abandon(new RelayError('closed', { what: 'the old stream', why: 'a new one took over' })),
      oldStreamMs,
    )
    retiring.add(old)
    const end = await old.ended
    retiring.delete(old)
    clearTimeout(patience)
    log.debug({ event: 'session.handed-over', end: end.how }, 'old stream ended after the hand-over')
  }

  const pulse = setInterval(() => outbox.pulse(), cx.pulseMs ?? 5_000)
  const running = run()

  async function leave(reason: string) {
    const last = current
    current = undefined
    if (last) outbox.detach(last)
    stop(undefined)
    await last?.leave(reason)
    await running
  }

  return {
    get attached() {
      return current !== undefined
    },
    synced: synced.promise,
    stopped: stopped.promise,
    async requestCertificate(csrDer, timeoutMs) {
      if (!current)
        throw new RelayError('unavailable', { what: 'the renewal', why: 'no session with the controller' })
      const mine = Promise.withResolvers<CertificateGrant>()
      grant = mine
      const patience = setTimeout(
        () => mine.reject(new RelayError('timed-out', { what: 'the renewal', why: 'no answer in time' })),
        timeoutMs,
      )
      current.write({ message: { $case: 'certificateRequest', value: { csrDer } } })
      try {
        return await mine.promise
      } finally {
        clearTimeout(patience)
        if (grant === mine) grant = undefined
      }
    },
    requestRelayCertificate(request, timeoutMs) {
      return relayCertificates.ask(timeoutMs, nonce => {
        current?.write({ message: { $case: 'relayCertificateRequest', value: { nonce, ...request } } })
        return current !== undefined
      })
    },
    requestTunnel(request, timeoutMs) {
      return tunnelGrants.ask(timeoutMs, nonce => {
        current?.write({ message: { $case: 'tunnelRequest', value: { nonce, ...request } } })
        return current !== undefined
      })
    },
    tunnelNews: news => void current?.write({ message: { $case: 'tunnelNews', value: news } }),
    async handOver() {
      const old = current
      // Without a stream the next one has the new identity anyway.
      if (!old || handingOver) return
      const opening = open()
      handingOver = opening
      const opened = await opening
      handingOver = undefined
      if (!('how' in opened)) return void retire(old)
      if (opened.how === 'lost') throw opened.error
      throw new RelayError('unavailable', {
        what: 'the hand-over',
        why: `the controller said goodbye: ${opened.reason}`,
      })
    },
    leave,
    async [Symbol.asyncDispose]() {
      await leave('shutting-down')
    },
  }
}
