import type { Address } from '../address.ts'
import type { Listener, OpenContext } from '../endpoint.ts'
import { tlsServer } from '../layers/tls.ts'
import type { OptionValues } from '../options.ts'
import type { acceptProxyOptions } from './proxy-protocol-options.ts'
import { handshakeMs, listenScreened } from './screened-listen.ts'
import type { TcpListenTarget } from './tcp-listen.ts'
import type { TlsOptionValues } from './tls-bind.ts'
import { contextOptions, withoutResumption } from './tls-context.ts'
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
  const layer = tlsServer({ what, ...(await serverOptions(options, what)) }, handshakeMs(tcp.options))
  return await listenScreened({ ...tcp, trustedProxies: options.trustedProxies }, layer, cx)
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
