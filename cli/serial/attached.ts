import { setTimeout as pause } from 'node:timers/promises'
import { RelayError } from '#relay/errors.ts'
import type { Fleet } from '../client.ts'
import { openTunnels } from '../tunnels.ts'
import { connectAgain, isLasting } from './again.ts'
import type { Place } from './place.ts'
import { openRemotePort, type RemotePort } from './remote-port.ts'
import { alertOption, type Reservation, reservationOptions, type Wish } from './reservation.ts'

export interface AttachedOptions extends Reservation {
  /** For the audit log: `console`. */
  readonly purpose: string
  /** Of what came before, so many bytes come first: `8k`. */
  readonly replay?: string | undefined
  /** Only if others have it: it is not opened for this. */
  readonly joins?: true
  /** An alert is raised with each line that this is in. */
  readonly alert?: RegExp | undefined
  readonly received: (bytes: Buffer) => Promise<void> | void
  /** Only to write: who would have to watch waits, or fails. */
  readonly mustWrite?: boolean | undefined
  /** For a person. */
  readonly told: (text: string) => void
  /** A connection stands; also after one was lost. Nothing is read before it resolves. */
  readonly connected?: (remote: RemotePort, again: boolean) => Promise<void> | void
}

/** A port on another host for as long as somebody wants it: a connection that is lost is made anew. */
export interface Attached extends AsyncDisposable {
  /** Undefined while there is no connection. */
  readonly remote: RemotePort | undefined
  /** Rejects with what nobody can wait to pass. */
  readonly over: Promise<never>
}

/** Resolves, once it is over, with the reason. */
interface Connection {
  readonly lost: Promise<RelayError>
}

const lookEveryMs = 50
/** By then who wrote before has written to the port again, if the same has cut both. */
const watchersLateMs = 1_000
/** Who waits in line tries again so long after his connection was lost. */
const lostMs = 500

/** Resolves when the first connection stands. Rejects with a RelayError when there is none. */
export async function openAttached(fleet: Fleet, place: Place, options: AttachedOptions): Promise<Attached> {
  const { purpose, wish, waitMs, ttlMs, replay, joins, alert, mustWrite, received, told, connected } = options
  const deadline = performance.now() + (waitMs ?? 0)
  const ended = new AbortController()
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => {})
  const end = (why: RelayError) => {
    over.reject(asWritten(why, place))
    ended.abort(why)
  }
  await using opening = new AsyncDisposableStack()
  const tunnels = opening.use(openTunnels(fleet, { purpose, withdrawn: end }))
  let remote: RemotePort | undefined
  /** Whether it wrote when it was connected the last time. */
  let wrote = false
  let isLeaving = false

  /** Rejects, and then has left the port, when somebody else writes for longer than there is patience. */
  const writing = async (opened: RemotePort, lost: Promise<RelayError>) => {
    const writer = opened.standing.present.find(({ writes }) => writes)?.who ?? 'somebody else'
    if (waitMs !== undefined) told(`${writer} writes; waiting`)
    let gone: RelayError | undefined
    void lost.then(why => {
      gone = why
    })
    while (!opened.standing.writes && !gone && performance.now() < deadline && !ended.signal.aborted)
      await pause(lookEveryMs)
    if (opened.standing.writes && !gone) return
    // It is gone by being left, too.
    const why = gone
    await opened[Symbol.asyncDispose]()
    if (why) throw why
    throw new RelayError('conflict', {
      what: place.text,
      why: `${writer} writes`,
      fix: '--wait waits until nobody does, --take-over takes the writing',
    })
  }

  /** Its time is over, once it has been open. */
  let until: number | undefined
  const connect = async (again: boolean, inLineMs?: number): Promise<Connection> => {
    const { promise: lost, resolve } = Promise.withResolvers<RelayError>()
    const leftMs = until === undefined ? ttlMs : until - performance.now()
    const address = place.address(
      ...reservationOptions({ wish: wishNow(wish, again), waitMs: inLineMs, ttlMs: leftMs }),
      ...(again || replay === undefined ? [] : [`replay=${replay}`]),
      ...(joins ? ['join'] : []),
      ...(alert ? [alertOption(alert)] : []),
      ...fixed,
    )
    const opened = await openRemotePort(address, tunnels, { received, told, over: resolve }, ended.signal)
    if (!again && mustWrite && !opened.standing.writes) await writing(opened, lost)
    remote = opened
    if (ttlMs !== undefined) until ??= performance.now() + ttlMs
    const gone = lost.finally(async () => {
      wrote = opened.standing.writes
      remote = undefined
      await opened[Symbol.asyncDispose]()
    })
    try {
      await connected?.(opened, again)
    } catch (thrown) {
      await opened[Symbol.asyncDispose]()
      throw thrown
    }
    return { lost: gone }
  }

  /** A connection that is lost while it waits is no answer yet; that others still have the port is one. */
  const connectInLine = async (): Promise<Connection> => {
    for (;;) {
      const leftMs = Math.round(deadline - performance.now())
      try {
        return await connect(false, Math.max(1, leftMs))
      } catch (thrown) {
        const error = RelayError.from(thrown, place.text)
        const isAnswer = error.code === 'conflict' || isLasting(error)
        if (isAnswer || leftMs <= lostMs || ended.signal.aborted) throw error
        told(`the connection was lost: ${asWritten(error, place).message}. Waiting anew`)
        await pause(lostMs, undefined, { signal: ended.signal })
      }
    }
  }
  const connectInTurn = async (): Promise<Connection> => {
    try {
      return await connect(false)
    } catch (thrown) {
      const error = RelayError.from(thrown, place.text)
      const mayWait = error.code === 'conflict' && performance.now() < deadline
      if (!mayWait) throw asWritten(error, place)
      told(`${error.why}; waiting`)
      return await connectInLine()
    }
  }
  let { lost } = await connectInTurn()
  const keeping = (async () => {
    for (;;) {
      const why = await lost
      if (isLeaving) return
      if (isLasting(why)) return end(why)
      told(`the connection was lost: ${asWritten(why, place).message}. Trying again`)
      // Whoever wrote before comes first.
      if (!wrote) await pause(watchersLateMs, undefined, { signal: ended.signal })
      lost = (await connectAgain(() => connect(true), place.text, told, ended.signal)).lost
      told(`connected again; you ${remote?.standing.writes ? 'write' : 'watch'}`)
    }
  })().catch(thrown => end(RelayError.from(thrown, place.text)))

  const held = opening.move()
  return {
    get remote() {
      return remote
    },
    over: over.promise,
    async [Symbol.asyncDispose]() {
      isLeaving = true
      if (!ended.signal.aborted) await goodbye(remote, lost)
      ended.abort(new RelayError('closed', { what: place.text, why: 'it is not needed any more' }))
      await remote?.[Symbol.asyncDispose]()
      await keeping
      await held.disposeAsync()
    },
  }
}

/** Of all that its address says people have written the port. */
const asWritten = (error: RelayError, place: Place): RelayError =>
  error.what.startsWith('@') ? error.within(place.text) : error

/** The end of a session is ours to find; when we say that it is over, it is so at once. */
const fixed = ['end-after=0', 'rfc2217']
/** As long as a slow line may need for what was written last. */
const goodbyeMs = 3_000

/** What was written last shall reach the device: a connection that is merely closed forgets it. */
async function goodbye(remote: RemotePort | undefined, lost: Promise<unknown>): Promise<void> {
  if (!remote?.standing.writes) return
  remote.end()
  const patience = new AbortController()
  const { signal } = patience
  await Promise.race([lost, pause(goodbyeMs, undefined, { signal }).catch(() => {})])
  patience.abort()
}

/** Who took over once does not take over again from whoever came meanwhile. */
const wishNow = (wish: Wish, again: boolean): Wish => (again && wish === 'take-over' ? 'share' : wish)
