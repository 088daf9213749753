import { ownEgress } from '#relay/egress.ts'
import { bindListen } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openRelay } from '#relay/relay.ts'
import { startTimer } from '#relay/timer.ts'
import type { Fleet } from '../client.ts'
import { note } from '../failure.ts'
import { openTunnels } from '../tunnels.ts'
import type { Place } from './place.ts'
import { type Reservation, reservationOptions } from './reservation.ts'

/** A port of another host for programs of this host that speak RFC 2217 themselves. */
export interface RemoteUrl extends AsyncDisposable {
  /** `rfc2217://127.0.0.1:40123` */
  readonly url: string
  /** Rejects with what ends it. */
  readonly over: Promise<never>
}

/** Rejects with a RelayError when the way to the port cannot be opened, and then holds nothing. */
export async function openRemoteUrl(
  fleet: Fleet,
  place: Place,
  { purpose, ...reservation }: Reservation & { readonly purpose: string },
): Promise<RemoteUrl> {
  const { ttlMs } = reservation
  const over = Promise.withResolvers<never>()
  const listening = Promise.withResolvers<string>()
  over.promise.catch(() => {})
  await using opening = new AsyncDisposableStack()
  const tunnels = opening.use(openTunnels(fleet, { purpose, withdrawn: over.reject }))
  const address = place.address(...reservationOptions(reservation), 'end-after=0', 'rfc2217')
  await tunnels.warm(address, AbortSignal.timeout(warmMs))
  let connections = 0
  let time: (() => void) | undefined
  opening.defer(() => time?.())
  /** From when it was open first: a program that comes back has no more of it. */
  const begin = () => {
    if (ttlMs === undefined) return
    const why = 'the time for which it was asked for is over'
    time ??= startTimer(ttlMs, () => over.reject(new RelayError('expired', { what: place.text, why })))
  }
  opening.use(
    openRelay(
      {
        id: purpose,
        name: purpose,
        // Of this host only, and for as long as the program runs.
        listen: bindListen('TCP4-LISTEN:0,bind=127.0.0.1,fork'),
        targets: [tunnels.target(address)],
        limits: {},
        giveUp: true,
      },
      {
        egress: ownEgress,
        newConnectionId: () => String(++connections),
        observer: {
          state(state) {
            if (state.name === 'ready') listening.resolve(state.local[0] ?? '')
            else if (state.name === 'rejected') listening.reject(state.error)
          },
          opened() {},
          joined: begin,
          closed(_connection, { error }) {
            if (error?.code === 'revoked') over.reject(error)
          },
          refused: cause => note(`a connection was turned away: ${cause}`),
          failed: error => note(RelayError.from(error, place.text).message),
        },
      },
    ),
  )
  const url = `rfc2217://${await listening.promise}`
  const held = opening.move()
  return { url, over: over.promise, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

const warmMs = 15_000
