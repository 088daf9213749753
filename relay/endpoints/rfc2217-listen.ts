import type { EndpointKind, OpenContext } from '../endpoint.ts'
import { listenOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { readOptions } from '../options.ts'
import { rfc2217Server } from '../serial/rfc2217/server.ts'
import { agreedVersion, argsOf, ipScope, portArg } from './ip-parts.ts'
import { acceptProxyOptions } from './proxy-protocol-options.ts'
import { retrying } from './retrying.ts'
import { listenScreened } from './screened-listen.ts'

const groups = [socketOptions, listenOptions, acceptProxyOptions, retryOptions] as const

/** Serves the port that is the relay's target to others, who set it as if it were their own. */
export const rfc2217ListenKinds: readonly EndpointKind[] = [
  {
    keyword: 'RFC2217-LISTEN',
    aliases: ['RFC2217-L'],
    syntax: 'RFC2217-LISTEN:<port>',
    summary:
      'a server of RFC 2217: its clients set the serial port that is its target, and see its modem lines',
    groups,
    role: 'listen',
    provesSources: true,
    bind(address) {
      const [portText] = argsOf(address, 'RFC2217-LISTEN:<port>', 1)
      const port = portArg(address, portText!, 0)
      const options = readOptions(address, groups)
      const family = agreedVersion(address, undefined, options.pf, options.bind ?? '')
      const host = options.bind ?? (family === 6 ? '::' : '0.0.0.0')
      const scope = ipScope(address, 'RFC2217-LISTEN', host, port)
      const { range, allow, deny, maxChildren, trustedProxies } = options
      const tcp = { scope, host, port, family, options, trustedProxies }
      // Nothing is asked of a client before its target is open, so none is turned away here.
      const listen = (cx: OpenContext) => listenScreened(tcp, async inner => rfc2217Server(inner), cx)
      return {
        address,
        scope,
        setsLine: true,
        acceptor: { listen: cx => retrying(options, cx, () => listen(cx)) },
        admission: { range, allow, deny, maxChildren },
      }
    },
  },
]
