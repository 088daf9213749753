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

/** Who waits in line tries again so long after his connection was lost. */
const lostMs = 500

/** Resolves when the first connection stands. Rejects with a RelayError when there is none. */
export async function openAttached(fleet: Fleet, place: Place, options: AttachedOptions): Promise<Attached> {
  const { purpose, wish, waitMs, ttlMs, replay, joins, alert, received, told, connected } = options
  const ended = new AbortController()
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => {})
  const end = (why: RelayError) => {
    // Of all that its address says, people have written the port.
    over.reject(why.what.startsWith('@') ? why.within(place.text) : why)
    ended.abort(why)
  }
  await using opening = new AsyncDisposableStack()
  const tunnels = opening.use(openTunnels(fleet, { purpose, withdrawn: end }))
  let remote: RemotePort | undefined
  let isLeaving = false

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
    remote = opened
    if (ttlMs !== undefined) until ??= performance.now() + ttlMs
    const gone = lost.finally(async () => {
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
  const connectInLine = async (deadline: number): Promise<Connection> => {
    for (;;) {
      const leftMs = Math.round(deadline - performance.now())
      try {
        return await connect(false, Math.max(1, leftMs))
      } catch (thrown) {
        const error = RelayError.from(thrown, place.text)
        const isAnswer = error.code === 'conflict' || isLasting(error)
        if (isAnswer || leftMs <= lostMs || ended.signal.aborted) throw error
        told(`the connection was lost: ${error.message}. Waiting anew`)
        await pause(lostMs, undefined, { signal: ended.signal })
      }
    }
  }
  const connectInTurn = async (): Promise<Connection> => {
    try {
      return await connect(false)
    } catch (thrown) {
      const error = RelayError.from(thrown, place.text)
      if (waitMs === undefined || error.code !== 'conflict') throw error
      told(`${error.why}; waiting`)
      return await connectInLine(performance.now() + waitMs)
    }
  }
  let { lost } = await connectInTurn()
  const keeping = (async () => {
    for (;;) {
      const why = await lost
      if (isLeaving) return
      if (isLasting(why)) return end(why)
      told(`the connection was lost: ${why.message}. Trying again`)
      lost = (await connectAgain(() => connect(true), place.text, told, ended.signal)).lost
      told('connected again')
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
