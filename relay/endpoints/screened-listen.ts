import type { Channel, Listener, OpenContext, Peer } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import type { Cidr } from '../ip.ts'
import { startTimer } from '../timer.ts'
import { openArrivals } from './arrivals.ts'
import { openHandshakes, type Screen } from './handshakes.ts'
import { onlyFrom, presented } from './presented.ts'
import { defaultBacklog, listenTcp, type TcpListenTarget } from './tcp-listen.ts'

/** For a whole handshake; an address that gives up sooner on its first client gives up on each. */
const longestHandshakeMs = 10_000

export function handshakeMs({ acceptTimeout = Infinity }: TcpListenTarget['options']): number {
  return Math.min(longestHandshakeMs, acceptTimeout)
}

/**
 * Listens on TCP, and hands over who has got through the screen. Behind proxies that say who their clients are, those
 * clients are screened.
 */
export async function listenScreened(
  tcp: TcpListenTarget & { readonly trustedProxies: readonly Cidr[] | undefined },
  through: Screen,
  cx: OpenContext,
): Promise<Listener> {
  const { trustedProxies } = tcp
  if (trustedProxies === undefined) return await listenThrough(tcp, through, cx.screen ?? welcome, cx)
  const behindProxy = presented(tcp.scope.text, cx.screen ?? welcome, through)
  return await listenThrough(tcp, behindProxy, onlyFrom(trustedProxies, cx), cx)
}

async function listenThrough(
  tcp: TcpListenTarget,
  through: Screen,
  admit: (peer: Peer) => boolean,
  cx: OpenContext,
): Promise<Listener> {
  const what = tcp.scope.text
  // Whoever cannot finish a handshake is not the one client of a listener without `fork`, and ends no waiting.
  const { acceptTimeout = Infinity, ...always } = tcp.options
  const inner = { ...tcp, options: { ...always, fork: true } }
  const below = await listenTcp(inner, { ...cx, admit })
  let disposal: PromiseLike<void> | undefined
  const dispose = () => {
    disposal ??= below[Symbol.asyncDispose]()
    return disposal
  }

  const stopWaiting = startTimer(acceptTimeout, () => {
    const why = `nobody has connected within ${acceptTimeout} ms`
    arrivals.fail(new RelayError('timed-out', { what, why }))
  })
  const arrivals = openArrivals(cx, {
    local: below.local,
    fork: tcp.options.fork ?? false,
    queue: tcp.options.backlog ?? defaultBacklog,
    close() {
      stopWaiting()
      void dispose()
      handshakes.stop()
    },
  })
  const handshakes = openHandshakes(through, cx, {
    what,
    done(channel: Channel) {
      stopWaiting()
      arrivals.offer(channel)
    },
  })
  const serving = serve(below, handshakes.begin).catch((thrown: unknown) =>
    arrivals.fail(RelayError.from(thrown, what)),
  )

  return {
    ...arrivals,
    async [Symbol.asyncDispose]() {
      await arrivals[Symbol.asyncDispose]()
      await dispose()
      await serving
      await handshakes[Symbol.asyncDispose]()
    },
  }
}

async function serve(below: Listener, begin: (inner: Channel) => void): Promise<void> {
  for await (const inner of below) begin(inner)
}

function welcome(_peer: Peer): boolean {
  return true
}
