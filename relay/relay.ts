import { setTimeout as sleep } from 'node:timers/promises'
import { type Admission, openAdmission, type RefusalCause } from './admission.ts'
import { checkAsked } from './asking.ts'
import { type Connection, type LiveConnection, openConnection } from './connection.ts'
import type { Channel, Listener, Peer } from './endpoint.ts'
import { RelayError } from './errors.ts'
import { openDump } from './layers/dump-file.ts'
import { openTaps } from './layers/taps.ts'
import type { Tees } from './layers/tee.ts'
import { openWatcher, type Watcher } from './layers/watcher.ts'
import { dialOnce } from './once.ts'
import type { PumpLimits } from './pump.ts'
import type { Remark } from './remark.ts'
import type { RelayContext, RelayLimits, RelayPlan, RelayState, RunningRelay } from './running-relay.ts'
import { openScope } from './scope.ts'
import { checkServedLine } from './served-line.ts'
import type { TargetStatus } from './targets/target.ts'
import { openTargets } from './targets/targets.ts'

export type * from './running-relay.ts'

const longestTrace = 16

/** Starts a relay. It listens as soon as it can; what keeps it from listening is its state, and it tries again. */
export function openRelay(
  plan: RelayPlan,
  {
    egress,
    checkEgress,
    observer,
    lookup,
    certificates,
    programs,
    barrier,
    isBanned,
    newConnectionId,
  }: RelayContext,
): RunningRelay {
  const listening = openScope()
  const live = new Map<string, { readonly connection: LiveConnection; readonly done: Promise<void> }>()
  const connections = new Map<string, Connection>()
  const finishing = new Map<Tees, Promise<void>>()
  const taps = openTaps(() => [...live.values()].map(({ connection }) => connection))
  const watchers = new Set<Watcher>()
  const limits: { -readonly [K in keyof PumpLimits]: PumpLimits[K] } = { barrier }
  const trace: { at: Date; state: string }[] = []
  const turnedAway = (cause: RefusalCause, { ip, text }: Channel['peer']) => {
    observer.refused(cause, text)
    if (ip !== undefined && byRule.has(cause)) observer.unwelcome?.(ip)
  }
  const dialing = {
    egress,
    ...(plan.id && { relay: plan.name }),
    turnedAway,
    remark: (remark: Remark) => observer.remarked?.(remark),
    ...(lookup && { lookup }),
    ...(certificates && { certificates }),
    ...(programs && { programs }),
  }
  const targets = openTargets(plan.targets, plan, {
    checking: { ...dialing, ...(checkEgress && { egress: checkEgress }), barrier },
    changed: target => observer.target?.(target, 'health'),
  })
  const used = (target: TargetStatus) => observer.target?.(target, 'counts')

  let state: RelayState = { name: 'pending' }
  let admission: Admission | undefined
  let listener: Listener | undefined
  let dumping: AsyncDisposable | undefined
  const attending: AsyncDisposable[] = []
  /** Admitted by the listener, and not yet taken from it. */
  let arriving = 0
  /** The listener has asked `screen` about source and rate by the time that it asks `admit`. */
  let screening = false
  /** Once set, nothing may live: see `accept`. */
  let mark: RelayError | undefined
  let connectionsCut = 0
  let freed: (() => void) | undefined
  let aborted: Promise<{ listenersClosed: number; connectionsCut: number }> | undefined

  const setState = (next: RelayState) => {
    state = next
    trace.push({ at: new Date(), state: next.name })
    if (trace.length > longestTrace) trace.shift()
    observer.state(next)
    if (next.name === 'ready') targets.startChecks()
    else void targets.stopChecks()
  }

  /**
   * Registered first, the mark checked second; `abort` marks first and closes what is registered second. Whichever
   * way the two interleave, one of them sees the other, so no connection slips between.
   */
  const accept = (client: Channel) => {
    arriving = Math.max(0, arriving - 1)
    const id = newConnectionId(client)
    const { id: relayId, flow } = plan
    const inOrder = targets.inOrder(client.peer)
    const parts = { id, relayId, client, targets: inOrder, limits, cx: dialing, flow }
    const following = {
      used,
      joined: (target: Peer) => observer.joined?.(connection.listed, target),
      teeLost: () => observer.refused('tee-dropped', client.peer.text),
      finishing: finish,
    }
    const connection = openConnection({ ...parts, ...following })
    taps.attach(connection)
    connections.set(id, connection.listed)
    const { promise: done, resolve } = Promise.withResolvers<void>()
    live.set(id, { connection, done })
    observer.opened(connection.listed)
    if (mark) cutMarked(connection, mark)
    else if (!client.peer.many && admission?.sourceRefusal(client.peer.ip))
      connection.cut(noLongerAllowed(connection.listed))
    void connection
      .run(error => observer.failed(error, connection.listed.source))
      .then(end => {
        connections.delete(id)
        live.delete(id)
        observer.closed(connection.listed, end)
        freed?.()
        resolve()
      })
  }

  /** Who waits for a place must not be left waiting when there is none for them. */
  const turnAwayUnwelcome = () => {
    listener?.turnAway?.(({ ip, many, text }) => {
      const cause = many ? undefined : admission?.sourceRefusal(ip)
      if (!cause) return false
      arriving = Math.max(0, arriving - 1)
      observer.refused(cause, text)
      return true
    })
  }

  const cutMarked = (connection: LiveConnection, reason: RelayError) => {
    connectionsCut++
    connection.cut(reason)
  }

  /** A tee that is slow keeps nobody's place: its connection is over, and it belongs to the relay now. */
  const finish = (tees: Tees) => {
    if (mark) tees.abort(mark)
    const done = tees.finish().then(() => void finishing.delete(tees))
    finishing.set(tees, done)
  }

  const admit = (peer: Channel['peer']): boolean => {
    const { ip, many } = peer
    const present = live.size + arriving
    const cause = screening || many ? admission?.roomRefusal(present) : admission?.refusal(ip, present)
    if (cause) turnedAway(cause, peer)
    else arriving++
    return cause === undefined
  }

  /** Who is not through yet takes no room from others: of those there may be many that never will be. */
  const screen = (peer: Channel['peer']): boolean => {
    screening = true
    const cause = admission?.refusal(peer.ip, live.size + arriving)
    if (cause) turnedAway(cause, peer)
    return cause === undefined
  }

  /** Where all senders share one conversation, each of their datagrams is judged by itself. */
  const hears = (ip: string | undefined): boolean => {
    const cause = admission?.sourceRefusal(ip)
    if (cause) observer.refused(cause, ip ?? 'unknown')
    return cause === undefined
  }

  /** `max-children` lets further clients wait in the listener's queue until one of the served has gone. */
  const slotFree = async () => {
    const { maxChildren = Infinity } = plan.listen.admission ?? {}
    while (live.size >= maxChildren && !listening.signal.aborted) {
      await new Promise<void>(resolve => {
        freed = resolve
      })
    }
  }

  const allGone = async () => {
    for (const { done } of live.values()) await done
    for (const done of finishing.values()) await done
  }

  const listen = (): Promise<Listener> => {
    const cx = {
      ...dialing,
      signal: listening.signal,
      admit,
      screen,
      hears,
      failed: (error: RelayError, { ip, text }: Channel['peer']) => {
        observer.failed(error, text)
        if (ip !== undefined) observer.unwelcome?.(ip)
      },
      retrying: (error: RelayError, retryAt: Date) => setState({ name: 'rejected', error, retryAt }),
    }
    if (plan.listen.acceptor) return plan.listen.acceptor.listen(cx)
    const only = plan.flow?.unidirectional
    return dialOnce(plan.listen, only ? { ...cx, uses: only === 'forward' ? 'read' : 'write' } : cx)
  }

  const checkPlan = () => {
    const { acceptor, dialer, address } = plan.listen
    const what = `relay ${plan.name}`
    if (!acceptor && !dialer) {
      throw new RelayError('unsupported', { what, why: `${address.text} cannot be opened on this host` })
    }
    if (plan.targets.length === 0) {
      throw new RelayError('usage', { what, why: 'it has no target', fix: 'Name at least one' })
    }
    const closed = [...plan.targets, ...(plan.flow?.tee ?? [])].find(target => !target.dialer)
    if (closed) {
      throw new RelayError('usage', { what, why: `${closed.address.text} cannot be a target` })
    }
    checkAsked(plan.listen, plan.targets, plan.flow?.tee)
    checkServedLine(plan.listen, plan.targets)
    if (!admission) applyLimits(plan.limits)
  }

  const applyLimits = (next: RelayLimits): Connection[] => {
    const cut = admission?.update(next, connections.values()) ?? []
    admission ??= openAdmission(plan.listen.admission ?? {}, next, { ...(isBanned && { isBanned }) })
    limits.idleMs = next.idleTimeoutMs
    limits.lifetimeMs = next.maxConnectionAgeMs
    limits.halfCloseMs = next.halfCloseMs
    return cut
  }

  /** Serves until the listener ends by itself, is stopped, or breaks. */
  const serve = async (opened: Listener) => {
    const arrivals = opened[Symbol.asyncIterator]()
    for (;;) {
      await slotFree()
      const next = await arrivals.next()
      if (next.done) return
      accept(next.value)
    }
  }

  const startDump = async () => {
    const { dump } = plan.flow ?? {}
    if (!dump?.file || dumping) return
    const opened = await openDump(dump.format, dump.file, {
      egress,
      lost: source => observer.refused('dump-dropped', source),
      failed: error => observer.failed(error, `relay ${plan.name}`),
    })
    const stop = taps.add(opened.sink)
    dumping = {
      async [Symbol.asyncDispose]() {
        stop()
        await opened[Symbol.asyncDispose]()
      },
    }
  }

  /** What its addresses do with nobody there. */
  const attend = async () => {
    for (const endpoint of [plan.listen, ...plan.targets, ...(plan.flow?.tee ?? [])]) {
      const cx = { ...dialing, signal: listening.signal }
      for (const { attend } of endpoint.halves ?? [endpoint]) if (attend) attending.push(await attend(cx))
    }
  }

  /** When all connections are over: what they have said last is dumped too. */
  const stopLooking = async () => {
    for (const watcher of watchers) watcher.close()
    await dumping?.[Symbol.asyncDispose]()
    dumping = undefined
  }

  const closeListener = async () => {
    await listener?.[Symbol.asyncDispose]()
    listener = undefined
  }

  /** False: it was stopped. Else all that have come are gone again. */
  const listenAndServe = async (): Promise<boolean> => {
    try {
      await startDump()
      if (listening.signal.aborted) return false
      await attend()
      if (listening.signal.aborted) return false
      listener = await listen()
      if (listening.signal.aborted) return false
      arriving = 0
      setState({ name: 'ready', local: [listener.local] })
      await serve(listener)
      if (listening.signal.aborted) return false
      await closeListener()
      // One that takes no more connections still has the one that it took, and all that is at work beside it.
      await allGone()
      return true
    } finally {
      await closeListener()
      for (const attended of attending.splice(0)) await attended[Symbol.asyncDispose]()
    }
  }

  const run = async () => {
    for (let failures = 0; !listening.signal.aborted; failures++) {
      try {
        checkPlan()
        if (!(await listenAndServe()) || mark) return
        if (plan.listen.acceptor && plan.targets.some(target => target.unfinished?.())) continue
        await stopLooking()
        setState({ name: 'done' })
        return
      } catch (thrown) {
        if (listening.signal.aborted) return
        const listened = state.name === 'ready'
        const error = RelayError.from(thrown, `relay ${plan.name}`)
        if (plan.giveUp || isFinal(error, listened)) return setState({ name: 'rejected', error })
        if (listened) failures = 0
        const delay = backoffMs(failures)
        setState({ name: 'rejected', error, retryAt: new Date(Date.now() + delay) })
        await sleep(delay, undefined, { signal: listening.signal }).catch(() => {})
      }
    }
  }
  // The caller holds the relay before its observer hears of it.
  const running = Promise.resolve().then(run)

  const stopListening = async (reason: RelayError) => {
    listening.abort(reason)
    freed?.()
    await Promise.all([targets.stopChecks(), listener?.[Symbol.asyncDispose]()])
  }

  const over = (reason: RelayError) => {
    if (state.name !== 'closed' && !(state.name === 'done' && reason.code === 'closed')) {
      setState({ name: 'closed', reason })
    }
  }

  const abort = async (reason: RelayError) => {
    mark = reason
    const listenersClosed = listener ? 1 : 0
    const stopped = stopListening(reason)
    for (const { connection } of live.values()) cutMarked(connection, reason)
    for (const tees of finishing.keys()) tees.abort(reason)
    await stopped
    await running
    await allGone()
    await stopLooking()
    over(reason)
    return { listenersClosed, connectionsCut }
  }

  return {
    plan,
    get state() {
      return state
    },
    trace,
    connections,
    targets: targets.all,
    setSharing: targets.setSharing,
    setLimits(next) {
      for (const refused of applyLimits(next)) live.get(refused.id)?.connection.cut(noLongerAllowed(refused))
      for (const { connection } of live.values()) connection.recheck()
      turnAwayUnwelcome()
    },
    tap: sink => void taps.add(sink),
    watch(options = {}) {
      const { watcher, sink } = openWatcher(options, () => {
        watchers.delete(watcher)
        stop()
      })
      const stop = taps.add(sink)
      watchers.add(watcher)
      if (state.name === 'done' || state.name === 'closed') watcher[Symbol.dispose]()
      return watcher
    },
    async cut(connectionId, reason) {
      const found = live.get(connectionId)
      if (!found) return false
      found.connection.cut(reason)
      await found.done
      return true
    },
    async cutBanned(reason) {
      const banned = [...live.values()].filter(({ connection: { listed } }) => {
        return !listed.manySources && listed.sourceIp !== undefined && isBanned?.(listed.sourceIp)
      })
      turnAwayUnwelcome()
      for (const { connection } of banned) connection.cut(reason)
      for (const { done } of banned) await done
      return banned.length
    },
    abort(reason) {
      aborted ??= abort(reason)
      return aborted
    },
    async close() {
      const reason = new RelayError('closed', { what: `relay ${plan.name}`, why: 'it was closed' })
      await stopListening(reason)
      await running
      await allGone()
      if (!mark) await stopLooking()
      if (!mark) over(reason)
    },
    async [Symbol.asyncDispose]() {
      await this.abort(new RelayError('closed', { what: `relay ${plan.name}`, why: 'it was stopped' }))
      await listening[Symbol.asyncDispose]()
    },
  }
}

/** What says something of who comes, and not only of how many do. */
const byRule: ReadonlySet<RefusalCause> = new Set<RefusalCause>([
  'denied-source',
  'range',
  'not-allowed-source',
  'rate',
  'source-rate',
  'untrusted-proxy',
])

function noLongerAllowed({ source }: Connection): RelayError {
  return new RelayError('denied', {
    what: `the connection of ${source}`,
    why: 'the relay no longer allows its source',
  })
}

/** Wrong words stay wrong, and a listener that nobody came to has given up as it was told to. */
function isFinal({ code }: RelayError, listened: boolean): boolean {
  return code === 'usage' || code === 'unsupported' || (listened && code === 'timed-out')
}

/** Full jitter: anything up to a bound that doubles from one second to thirty, so that a fleet does not retry in step. */
function backoffMs(failures: number): number {
  return Math.random() * Math.min(30_000, 1_000 * 2 ** Math.min(failures, 5))
}
