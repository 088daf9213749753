import type { SecureContextOptions } from 'node:tls'
import type { Address } from '../address.ts'
import type { FleetCertificate, Listener, OpenContext } from '../endpoint.ts'
import { tlsServer } from '../layers/tls.ts'
import type { OptionValues } from '../options.ts'
import type { acceptProxyOptions } from './proxy-protocol-options.ts'
import { handshakeMs, listenScreened } from './screened-listen.ts'
import type { TcpListenTarget } from './tcp-listen.ts'
import { filesOf, obtained } from './tls-auto.ts'
import type { TlsOptionValues } from './tls-bind.ts'
import { contextOptions, withOwn, withoutResumption } from './tls-context.ts'
import { readMaterial } from './tls-files.ts'
import { checkReads } from './tls-reads.ts'

export interface TlsListenTarget {
  readonly tcp: TcpListenTarget
  readonly reads: readonly Address[]
  readonly options: TlsOptionValues & OptionValues<readonly [typeof acceptProxyOptions]>
}

/** Listens on TCP, and hands over who has finished a handshake. */
export async function listenTls(
  { tcp, reads, options }: TlsListenTarget,
  cx: OpenContext,
): Promise<Listener> {
  const what = tcp.scope.text
  checkReads(reads, cx, what)
  const material = await readMaterial(filesOf(options), what)
  const contextWith = (certificate: FleetCertificate | undefined) => ({
    dhparam: 'auto',
    ...contextOptions(withOwn(material, certificate), options, what),
    ...(asksFor(options) && { secureOptions: withoutResumption }),
  })
  const own = await obtained(options, cx, what)
  const { layer, setCertificate } = tlsServer(
    { what, ...serverOptions(options, contextWith(own)) },
    handshakeMs(tcp.options),
  )
  await using held = new AsyncDisposableStack()
  if (own && cx.certificates) {
    held.defer(cx.certificates.onRenewed(renewed => setCertificate(contextWith(renewed))))
  }
  const listener = held.use(
    await listenScreened({ ...tcp, trustedProxies: options.trustedProxies }, layer, cx),
  )
  const parts = held.move()
  return {
    local: listener.local,
    [Symbol.asyncIterator]: () => listener[Symbol.asyncIterator](),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

const asksFor = ({ verify = true, fingerprint }: TlsOptionValues) => verify || fingerprint !== undefined

function serverOptions(options: TlsOptionValues, context: SecureContextOptions) {
  const { verify = true, commonName, identity, fingerprint, alpn } = options
  return {
    asks: asksFor(options),
    options: { ...context, ...(alpn && { ALPNProtocols: [...alpn] }) },
    peer: { verified: verify, commonName, identities: identity, fingerprints: fingerprint },
  }
}
