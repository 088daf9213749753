import { setTimeout as pause } from 'node:timers/promises'
import { RelayError } from '#relay/errors.ts'
import type { Fleet } from '../client.ts'
import { openTunnels } from '../tunnels.ts'
import { connectAgain, isLasting } from './again.ts'
import type { Place } from './place.ts'
import { openRemotePort, type RemotePort } from './remote-port.ts'

/** How somebody wants to have a port. */
export type Wish = 'share' | 'watch' | 'take-over' | 'exclusive'

export interface AttachedOptions {
  /** For the audit log: `console`. */
  readonly purpose: string
  readonly wish: Wish
  /** Of what came before, so many bytes come first: `8k`. */
  readonly replay?: string | undefined
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

/** Resolves when the first connection stands. Rejects with a RelayError when there is none. */
export async function openAttached(fleet: Fleet, place: Place, options: AttachedOptions): Promise<Attached> {
  const { purpose, wish, replay, received, told, connected } = options
  const ended = new AbortController()
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => {})
  const end = (why: RelayError) => {
    over.reject(why)
    ended.abort(why)
  }
  await using opening = new AsyncDisposableStack()
  const tunnels = opening.use(openTunnels(fleet, { purpose, withdrawn: end }))
  let remote: RemotePort | undefined
  let isLeaving = false

  const connect = async (again: boolean): Promise<Connection> => {
    const first = again ? [] : [...(replay === undefined ? [] : [`replay=${replay}`])]
    const { promise: lost, resolve } = Promise.withResolvers<RelayError>()
    const address = place.address(...modeNow(wish, again), ...first, ...fixed)
    const opened = await openRemotePort(address, tunnels, { received, told, over: resolve }, ended.signal)
    remote = opened
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

  let { lost } = await connect(false)
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

const optionsOf: Record<Wish, readonly string[]> = {
  share: ['share'],
  watch: ['watch'],
  'take-over': ['take-over'],
  // A device that is shared is waited for anyway.
  exclusive: ['exclusive', 'replug'],
}

/** What an address has for it. */
export const wishOptions = (wish: Wish): readonly string[] => optionsOf[wish]

/** Who took over once does not take over again from whoever came meanwhile. */
const modeNow = (wish: Wish, again: boolean) => wishOptions(again && wish === 'take-over' ? 'share' : wish)
