import type { Dialer, EndpointKind } from '../endpoint.ts'
import { connectOptions, listenOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { readOptions } from '../options.ts'
import { agreedVersion, argsOf, hostArg, ipScope, portArg, withBindPort } from './ip-parts.ts'
import { acceptProxyOptions, sendProxyOptions } from './proxy-protocol-options.ts'
import { retrying } from './retrying.ts'
import { wishOf } from './tls-auto.ts'
import { checkTlsOptions } from './tls-bind.ts'
import { tlsClientOptions, tlsOptions, tlsServerOptions } from './tls-options.ts'
import { readScopes } from './tls-reads.ts'

const dialGroups = [
  tlsOptions,
  tlsClientOptions,
  socketOptions,
  connectOptions,
  sendProxyOptions,
  retryOptions,
] as const
const listenGroups = [
  tlsOptions,
  tlsServerOptions,
  socketOptions,
  listenOptions,
  acceptProxyOptions,
  retryOptions,
] as const

/** TLS over TCP, as a target and as a listener. Both verify their peer unless they are told not to. */
export const tlsKinds: readonly EndpointKind[] = [
  {
    keyword: 'OPENSSL',
    aliases: ['SSL', 'OPENSSL-CONNECT', 'SSL-CONNECT'],
    syntax: 'OPENSSL:<host>:<port>',
    summary: "a TLS connection; the server's certificate must be for <host> unless options say otherwise",
    groups: dialGroups,
    role: 'target',
    checkable: true,
    bind(address) {
      const [hostText, portText] = argsOf(address, 'OPENSSL:<host>:<port>', 2)
      const host = hostArg(address, hostText!)
      const port = portArg(address, portText!, 1)
      const options = readOptions(withBindPort(address), dialGroups)
      checkTlsOptions(address, options, 'client')
      const family = agreedVersion(address, undefined, options.pf, host)
      const scope = ipScope(address, 'OPENSSL', host, port)
      const reads = readScopes(options)
      const target = { tcp: { scope, host, port, family, options }, reads, options }
      let dial: Dialer['dial'] | undefined
      const dialer: Dialer = {
        async dial(cx) {
          // Node's TLS takes longer to load than all the rest of the table.
          const { tlsDialer } = await import('./tls-dial.ts')
          dial ??= tlsDialer(target)
          return retrying(options, cx, () => dial!(cx))
        },
      }
      return { address, scope, reads, dialer, ...wishOf(options, 'client') }
    },
  },
  {
    keyword: 'OPENSSL-LISTEN',
    aliases: ['SSL-LISTEN', 'OPENSSL-L', 'SSL-L'],
    syntax: 'OPENSSL-LISTEN:<port>',
    summary: 'a TLS listener; clients must show a certificate unless `verify=0`',
    groups: listenGroups,
    role: 'listen',
    provesSources: true,
    bind(address) {
      const [portText] = argsOf(address, 'OPENSSL-LISTEN:<port>', 1)
      const port = portArg(address, portText!, 0)
      const options = readOptions(address, listenGroups)
      checkTlsOptions(address, options, 'server')
      const family = agreedVersion(address, undefined, options.pf, options.bind ?? '')
      const host = options.bind ?? (family === 6 ? '::' : '0.0.0.0')
      const scope = ipScope(address, 'OPENSSL-LISTEN', host, port)
      const reads = readScopes(options)
      const target = { tcp: { scope, host, port, family, options }, reads, options }
      const { range, allow, deny, maxChildren } = options
      return {
        address,
        scope,
        reads,
        acceptor: {
          async listen(cx) {
            const { listenTls } = await import('./tls-listen.ts')
            return retrying(options, cx, () => listenTls(target, cx))
          },
        },
        admission: { range, allow, deny, maxChildren },
        ...wishOf(options, 'server', host),
      }
    },
  },
]
