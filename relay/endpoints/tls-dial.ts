import { isIP } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Address } from '../address.ts'
import type { Channel, FleetCertificate, OpenContext } from '../endpoint.ts'
import { tlsClient } from '../layers/tls.ts'
import type { OptionValues } from '../options.ts'
import { present } from './presented.ts'
import type { sendProxyOptions } from './proxy-protocol-options.ts'
import { defaultConnectTimeoutMs, dialTcp, type TcpTarget } from './tcp-dial.ts'
import { filesOf, obtained } from './tls-auto.ts'
import type { TlsOptionValues } from './tls-bind.ts'
import { contextOptions, withOwn } from './tls-context.ts'
import { fileStamp, readMaterial } from './tls-files.ts'
import type { tlsClientOptions } from './tls-options.ts'
import { checkReads } from './tls-reads.ts'

export interface TlsTarget {
  readonly tcp: TcpTarget
  readonly reads: readonly Address[]
  readonly options: TlsOptionValues &
    OptionValues<readonly [typeof tlsClientOptions, typeof sendProxyOptions]>
}

/** Dials TCP and speaks TLS over it, all within the connect-timeout. */
export function tlsDialer({ tcp, reads, options }: TlsTarget): (cx: OpenContext) => Promise<Channel> {
  const what = tcp.scope.text
  const contextNow = contextKeeper(options, what)
  const { verify = true, commonName, identity, fingerprint } = options
  const client = {
    what,
    serverName: serverName(tcp.host, options),
    alpn: options.alpn,
    peer: {
      verified: verify,
      // Who names a whole identity does not mean the host's: workloads move from host to host.
      commonName: commonName ?? (identity ? undefined : tcp.host),
      identities: identity,
      fingerprints: fingerprint,
    },
  }

  return async cx => {
    const timeout = tcp.options.connectTimeout ?? defaultConnectTimeoutMs
    const deadline = performance.now() + timeout
    checkReads(reads, cx, what)
    const context = await contextNow(await obtained(options, cx, what))
    const inner = await dialTcp(tcp, cx)
    present(inner, options.sendProxy, cx)
    const layer = tlsClient({ ...client, context }, Math.max(1, deadline - performance.now()))
    return await layer(inner, cx)
  }
}

/** Reads the files anew only when they have changed: reading a host's authorities takes longer than a handshake. */
function contextKeeper(
  options: TlsOptionValues,
  what: string,
): (own: FleetCertificate | undefined) => Promise<SecureContext> {
  const files = filesOf(options)
  let kept: { stamp: string; context: SecureContext } | undefined
  return async own => {
    const stamp = `${await fileStamp(files)} ${own?.certificate}`
    if (kept?.stamp !== stamp) {
      const material = withOwn(await readMaterial(files, what), own)
      kept = { stamp, context: createSecureContext(contextOptions(material, options, what)) }
    }
    return kept.context
  }
}

function serverName(host: string, { snihost, noSni, commonName }: TlsTarget['options']): string | undefined {
  if (noSni) return undefined
  return snihost ?? [commonName, host].find(name => name !== undefined && isIP(name) === 0)
}
