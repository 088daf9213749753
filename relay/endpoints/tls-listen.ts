import type { Address } from '../address.ts'
import type { Channel, Listener, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { tlsServer } from '../layers/tls.ts'
import { startTimer } from '../timer.ts'
import { openArrivals } from './arrivals.ts'
import { openHandshakes } from './handshakes.ts'
import { defaultBacklog, listenTcp, type TcpListenTarget } from './tcp-listen.ts'
import type { TlsOptionValues } from './tls-bind.ts'
import { contextOptions, withoutResumption } from './tls-context.ts'
import { checkReads } from './tls-dial.ts'
import { readMaterial } from './tls-files.ts'

export interface TlsListenTarget {
  readonly tcp: TcpListenTarget
  readonly reads: readonly Address[]
  readonly options: TlsOptionValues
}

/** For a whole handshake; an address that gives up sooner on its first client gives up on each. */
const longestHandshakeMs = 10_000

/** Listens on TCP, and hands over who has finished a handshake. */
export async function listenTls(
  { tcp, reads, options }: TlsListenTarget,
  cx: OpenContext,
): Promise<Listener> {
  const what = tcp.scope.text
  checkReads(reads, cx, what)
  const layer = tlsServer(
    { what, ...(await serverOptions(options, what)) },
    Math.min(longestHandshakeMs, tcp.options.acceptTimeout ?? Infinity),
  )

  // Whoever cannot finish a handshake is not the one client of a listener without `fork`, and ends no waiting.
  const { acceptTimeout = Infinity, ...always } = tcp.options
  const { screen, ...rest } = cx
  const inner = { ...tcp, options: { ...always, fork: true } }
  const below = await listenTcp(inner, { ...rest, admit: screen ?? welcome })
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
  const handshakes = openHandshakes(layer, cx, {
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

async function serverOptions(options: TlsOptionValues, what: string) {
  const { verify = true, commonName, identity, fingerprint, alpn } = options
  const material = await readMaterial(options, what)
  const asks = verify || fingerprint !== undefined
  return {
    asks,
    options: {
      dhparam: 'auto',
      ...contextOptions(material, options, what),
      ...(alpn && { ALPNProtocols: [...alpn] }),
      ...(asks && { secureOptions: withoutResumption }),
    },
    peer: { verified: verify, commonName, identities: identity, fingerprints: fingerprint },
  }
}

function welcome(): boolean {
  return true
}
