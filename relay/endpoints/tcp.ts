import type { Channel, Endpoint, EndpointKind, OpenContext } from '../endpoint.ts'
import { connectOptions, listenOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { readOptions } from '../options.ts'
import { agreedVersion, argsOf, hostArg, ipScope, portArg, withBindPort } from './ip-parts.ts'
import { present } from './presented.ts'
import { acceptProxyOptions, sendProxyOptions } from './proxy-protocol-options.ts'
import { retrying } from './retrying.ts'
import { listenScreened } from './screened-listen.ts'
import { dialTcp } from './tcp-dial.ts'
import { listenTcp } from './tcp-listen.ts'

const dialGroups = [socketOptions, connectOptions, sendProxyOptions, retryOptions] as const
const listenGroups = [socketOptions, listenOptions, acceptProxyOptions, retryOptions] as const

/** TCP, as a target and as a listener; with a digit, of that IP version only. */
export const tcpKinds: readonly EndpointKind[] = [
  ...([undefined, 4, 6] as const).map(dialKind),
  ...([undefined, 4, 6] as const).map(listenKind),
]

function dialKind(version: 4 | 6 | undefined): EndpointKind {
  const keyword = `TCP${version ?? ''}`
  return {
    keyword,
    aliases: [`${keyword}-CONNECT`],
    syntax: `${keyword}:<host>:<port>`,
    summary: `a TCP connection${version ? ` over IPv${version}` : ''}`,
    groups: dialGroups,
    role: 'target',
    checkable: true,
    ...(version && { covers: ['TCP'] }),
    bind(address) {
      const [hostText, portText] = argsOf(address, `${keyword}:<host>:<port>`, 2)
      const host = hostArg(address, hostText!)
      const port = portArg(address, portText!, 1)
      const options = readOptions(withBindPort(address), dialGroups)
      const family = agreedVersion(address, version, options.pf, host)
      const scope = ipScope(address, keyword, host, port)
      const target = { scope, host, port, family, options }
      const dialer: Endpoint['dialer'] = {
        dial: cx =>
          retrying(options, cx, async () => present(await dialTcp(target, cx), options.sendProxy, cx)),
      }
      return { address, scope, dialer }
    },
  }
}

function listenKind(version: 4 | 6 | undefined): EndpointKind {
  const keyword = `TCP${version ?? ''}-LISTEN`
  return {
    keyword,
    aliases: [`TCP${version ?? ''}-L`],
    syntax: `${keyword}:<port>`,
    summary: version
      ? `a TCP listener on IPv${version}`
      : 'a TCP listener, on all IPv4 addresses unless `bind` or `pf` says otherwise',
    groups: listenGroups,
    role: 'listen',
    provesSources: true,
    ...(version && { covers: ['TCP-LISTEN'] }),
    bind(address) {
      const [portText] = argsOf(address, `${keyword}:<port>`, 1)
      const port = portArg(address, portText!, 0)
      const options = readOptions(address, listenGroups)
      const family = agreedVersion(address, version, options.pf, options.bind ?? '')
      const host = options.bind ?? (family === 6 ? '::' : '0.0.0.0')
      const scope = ipScope(address, keyword, host, port)
      const target = { scope, host, port, family, options }
      const { range, allow, deny, maxChildren, trustedProxies } = options
      const listen = (cx: OpenContext) =>
        trustedProxies ? listenScreened({ ...target, trustedProxies }, asItCame, cx) : listenTcp(target, cx)
      return {
        address,
        scope,
        acceptor: { listen: cx => retrying(options, cx, () => listen(cx)) },
        admission: { range, allow, deny, maxChildren },
      }
    },
  }
}

async function asItCame(inner: Channel): Promise<Channel> {
  return inner
}
