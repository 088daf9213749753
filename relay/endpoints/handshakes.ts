import type { Channel, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'

/** Arrivals that have not shown yet who they are. There are so many at most; they cost memory and prove nothing. */
export const mostUnfinished = 1_024

/**
 * What an arrival goes through. Undefined: it was turned away, and whom it concerns has been told. On rejection, and when
 * it turns away, the inner channel is disposed.
 */
export type Screen = (inner: Channel, cx: OpenContext) => Promise<Channel | undefined>

export interface Handshakes extends AsyncDisposable {
  begin(inner: Channel): void
  /** Cuts all that are not over, and whatever still comes. */
  stop(): void
}

interface Handshake {
  readonly source: string
  readonly cut: (reason: RelayError) => void
  over?: Promise<void>
}

/**
 * Runs handshakes side by side, and hands over those that succeed. When there are too many, one more crowds out the
 * oldest of the source that has most: crowds of one host do not keep out another.
 */
export function openHandshakes(
  through: Screen,
  cx: OpenContext,
  { what, done }: { readonly what: string; done(channel: Channel): void },
): Handshakes {
  /** In the order of arrival, each source's own. */
  const bySource = new Map<string, Set<Handshake>>()
  let unfinished = 0
  let stopped: RelayError | undefined

  async function run(inner: Channel, handshake: Handshake, signal: AbortSignal): Promise<void> {
    try {
      const channel = await through(inner, { ...cx, signal })
      forget(handshake)
      if (stopped) channel?.abort(stopped)
      else if (channel) done(channel)
    } catch (thrown) {
      forget(handshake)
      if (stopped) return
      cx.failed?.(RelayError.from(thrown, what).within(`handshake with ${inner.peer.text}`), inner.peer)
    }
  }

  function forget(handshake: Handshake): void {
    const own = bySource.get(handshake.source)
    if (!own?.delete(handshake)) return
    unfinished--
    if (own.size === 0) bySource.delete(handshake.source)
  }

  function crowdOut(): void {
    let busiest: Set<Handshake> | undefined
    for (const own of bySource.values()) if (own.size > (busiest?.size ?? 0)) busiest = own
    const [oldest] = busiest ?? []
    if (!oldest) return
    const why = `more than ${mostUnfinished} clients had not finished their handshake`
    oldest.cut(new RelayError('exhausted', { what, why }))
    forget(oldest)
  }

  return {
    begin(inner) {
      const controller = new AbortController()
      const source = inner.peer.ip ?? inner.peer.text
      const handshake: Handshake = { source, cut: reason => controller.abort(reason) }
      const own = bySource.get(source) ?? new Set()
      bySource.set(source, own.add(handshake))
      unfinished++
      if (stopped) controller.abort(stopped)
      handshake.over = run(inner, handshake, controller.signal)
      if (unfinished > mostUnfinished) crowdOut()
    },
    stop() {
      stopped ??= new RelayError('closed', { what, why: 'it no longer listens' })
      for (const own of bySource.values()) for (const { cut } of own) cut(stopped)
    },
    async [Symbol.asyncDispose]() {
      this.stop()
      const left = [...bySource.values()].flatMap(own => [...own])
      await Promise.all(left.map(({ over }) => over))
    },
  }
}
