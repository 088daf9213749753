import { isIP } from 'node:net'
import type { Address } from '../address.ts'
import type { Endpoint, EndpointKind } from '../endpoint.ts'
import { connectOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { type OptionValues, readOptions } from '../options.ts'
import { agreedVersion, argsOf, hostArg, hostPort, ipScope, portArg, wrongAddress } from './ip-parts.ts'
import { askHttp, askSocks4, askSocks5 } from './proxied-ask.ts'
import type { ProxiedTarget } from './proxied-dial.ts'
import { httpProxyOptions, socks4Options, socks5Options } from './proxy-options.ts'
import { retrying } from './retrying.ts'
import { readScopes } from './tls-reads.ts'

const reaching = [socketOptions, connectOptions, retryOptions] as const
const socks4Groups = [socks4Options, ...reaching] as const
const socks5Groups = [socks5Options, ...reaching] as const
const httpGroups = [httpProxyOptions, ...reaching] as const

const socksPort = 1080
const httpPort = 8080

/** TCP connections that a proxy opens for us. */
export const proxiedKinds: readonly EndpointKind[] = [
  row('SOCKS4', {
    aliases: ['SOCKS'],
    summary: 'a TCP connection through a SOCKS4 proxy; names are resolved here',
    groups: socks4Groups,
    bind(address) {
      const options = readOptions(address, socks4Groups)
      const parts = partsOf(address, 'SOCKS4', options.port ?? socksPort)
      requireIpv4(address, parts.host)
      return proxied(address, 'SOCKS4', parts, options, {
        language: 'SOCKS4',
        resolve: 4,
        ask: askSocks4(options.user),
      })
    },
  }),
  row('SOCKS4A', {
    aliases: [],
    summary: 'a TCP connection through a SOCKS4a proxy, which resolves names itself',
    groups: socks4Groups,
    bind(address) {
      const options = readOptions(address, socks4Groups)
      const parts = partsOf(address, 'SOCKS4A', options.port ?? socksPort)
      requireIpv4(address, parts.host)
      return proxied(address, 'SOCKS4A', parts, options, {
        language: 'SOCKS4',
        resolve: 'there',
        ask: askSocks4(options.user),
      })
    },
  }),
  row('SOCKS5', {
    aliases: ['SOCKS5-CONNECT'],
    summary:
      'a TCP connection through a SOCKS5 proxy, which resolves names itself unless `resolve` says otherwise',
    groups: socks5Groups,
    bind(address) {
      const options = readOptions(address, socks5Groups)
      const { user, passwordFile } = options
      if ((user === undefined) !== (passwordFile === undefined)) {
        const [lone, other] =
          user === undefined ? ['sockspass-file', 'socksuser'] : ['socksuser', 'sockspass-file']
        throw wrongAddress(address, `\`${lone}\` is half of a login`, `Add \`${other}=\``)
      }
      const parts = socks5Parts(address, options.port)
      return proxied(address, 'SOCKS5', parts, options, {
        language: 'SOCKS5',
        resolve: options.resolve ? 'any' : 'there',
        secretFile: passwordFile,
        ask: askSocks5(user),
      })
    },
  }),
  row('PROXY', {
    aliases: ['PROXY-CONNECT'],
    summary:
      'a TCP connection through an HTTP proxy, by CONNECT; it resolves names itself unless `resolve` says otherwise',
    groups: httpGroups,
    bind(address) {
      const options = readOptions(address, httpGroups)
      const parts = partsOf(address, 'PROXY', options.port ?? httpPort)
      return proxied(address, 'PROXY', parts, options, {
        language: 'HTTP',
        resolve: options.resolve ? 'any' : 'there',
        secretFile: options.authorizationFile,
        ask: askHttp(options),
      })
    },
  }),
]

function row(
  keyword: string,
  rest: Pick<EndpointKind, 'aliases' | 'summary' | 'groups' | 'bind'>,
): EndpointKind {
  return { keyword, syntax: `${keyword}:<proxy>:<host>:<port>`, role: 'target', checkable: true, ...rest }
}

interface Parts {
  readonly proxyHost: string
  readonly proxyPort: number
  readonly host: string
  readonly port: number
}

function partsOf(address: Address, keyword: string, proxyPort: number): Parts {
  const [proxyText, hostText, portText] = argsOf(address, `${keyword}:<proxy>:<host>:<port>`, 3)
  return {
    proxyHost: hostArg(address, proxyText!),
    proxyPort,
    host: hostArg(address, hostText!),
    port: portArg(address, portText!, 1),
  }
}

/** Newer versions of socat have the proxy's port among the arguments. */
function socks5Parts(address: Address, written: number | undefined): Parts {
  if (address.args.length !== 4) return partsOf(address, 'SOCKS5', written ?? socksPort)
  const [proxy, portText, ...destination] = address.args
  const proxyPort = portArg(address, portText!, 1)
  if (written !== undefined && written !== proxyPort) {
    throw wrongAddress(address, "it names two ports of the proxy's", 'Keep one of them')
  }
  return partsOf({ ...address, args: [proxy!, ...destination] }, 'SOCKS5', proxyPort)
}

function proxied(
  address: Address,
  keyword: string,
  { proxyHost, proxyPort, host, port }: Parts,
  options: OptionValues<typeof reaching>,
  speaking: Pick<ProxiedTarget, 'language' | 'resolve' | 'secretFile' | 'ask'>,
): Endpoint {
  const proxyScope = ipScope(address, 'TCP', proxyHost, proxyPort)
  const destination = { scope: ipScope(address, 'TCP', host, port), host, port }
  const scope = proxiedScope(destination.scope, keyword, proxyScope)
  const family = agreedVersion(address, undefined, options.pf, proxyHost)
  const { secretFile, resolve } = speaking
  const reads = readScopes({ cert: secretFile })
  const proxy = { scope: proxyScope, host: proxyHost, port: proxyPort, family, options }
  const target = { scope, proxy, destination, reads, ...speaking }
  return {
    address,
    scope,
    reads,
    legs: [
      { scope: proxyScope, resolved: 'here' },
      { scope: destination.scope, resolved: resolve === 'there' ? 'there' : 'here' },
    ],
    dialer: {
      async dial(cx) {
        const { dialThroughProxy } = await import('./proxied-dial.ts')
        return retrying(options, cx, () => dialThroughProxy(target, cx))
      },
    },
  }
}

/** Whom it asks and for what: `SOCKS5:proxy:db:5432`. */
function proxiedScope(destination: Address, keyword: string, { args: [proxy] }: Address): Address {
  const args = [proxy!, ...destination.args]
  return { ...destination, keyword, args, text: `${keyword}:${args.join(':')}` }
}

function requireIpv4(address: Address, host: string): void {
  if (isIP(host) !== 6 && !host.includes('%')) return
  throw wrongAddress(
    address,
    `SOCKS4 has no room for ${hostPort(host, 0).slice(0, -2)}, an IPv6 address`,
    'Use SOCKS5',
  )
}
