import type { Address } from '../address.ts'
import type { Endpoint, EndpointKind } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { connectOptions, listenOptions, retryOptions, socketOptions } from '../option-groups.ts'
import { readHost } from '../option-types.ts'
import { readOptions } from '../options.ts'
import { readPort } from '../ports.ts'
import { retrying } from './retrying.ts'
import { dialTcp, hostPort } from './tcp-dial.ts'
import { listenTcp } from './tcp-listen.ts'

const dialGroups = [socketOptions, connectOptions, retryOptions] as const
const listenGroups = [socketOptions, listenOptions, retryOptions] as const

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
    ...(version && { covers: ['TCP'] }),
    bind(address) {
      const [hostText, portText] = args(address, `${keyword}:<host>:<port>`, 2)
      const host = readHost(hostText!)
      if (host === undefined)
        throw wrong(address, `\`${hostText}\` is neither a host name nor an IP address`, '')
      const port = portOf(address, portText!, 1)
      const options = readOptions(address, dialGroups)
      const family = familyOf(address, version, options.pf, host)
      const scope = scopeOf(address, keyword, host, port)
      const target = { scope, host, port, family, options }
      const dialer: Endpoint['dialer'] = {
        dial: cx => retrying(options, cx, () => dialTcp(target, cx)),
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
    ...(version && { covers: ['TCP-LISTEN'] }),
    bind(address) {
      const [portText] = args(address, `${keyword}:<port>`, 1)
      const port = portOf(address, portText!, 0)
      const options = readOptions(address, listenGroups)
      const family = familyOf(address, version, options.pf, options.bind ?? '')
      const host = options.bind ?? (family === 6 ? '::' : '0.0.0.0')
      const scope = scopeOf(address, keyword, host, port)
      const target = { scope, host, port, family, options }
      const { range, allow, deny, maxChildren } = options
      return {
        address,
        scope,
        acceptor: { listen: cx => retrying(options, cx, () => listenTcp(target, cx)) },
        admission: { range, allow, deny, maxChildren },
      }
    },
  }
}

function scopeOf(address: Address, keyword: string, host: string, port: number): Address {
  const at = address.host === undefined ? {} : { host: address.host }
  const written = hostPort(host, port)
  const args = [written.slice(0, -String(port).length - 1), String(port)]
  return { keyword, args, options: [], ...at, text: `${keyword}:${written}` }
}

/** The one IP version that the keyword, `pf` and a literal address agree on, if any of them says one. */
function familyOf(
  address: Address,
  version: 4 | 6 | undefined,
  pf: 4 | 6 | undefined,
  host: string,
): 4 | 6 | undefined {
  const literal = /^[\d.]+$/.test(host) ? 4 : host.includes(':') ? 6 : undefined
  const said = [version, pf, literal].filter((family): family is 4 | 6 => family !== undefined)
  if (new Set(said).size > 1) {
    const why = `${version ? address.keyword : `\`pf=ip${pf}\``} and \`${literal ? host : `pf=ip${pf}`}\` are different IP versions`
    throw wrong(address, why, 'Keep one of them')
  }
  return said[0]
}

function portOf(address: Address, text: string, least: 0 | 1): number {
  const port = readPort(text)
  if (port !== undefined && port >= least) return port
  throw wrong(address, `\`${text}\` is no port`, `Write a number from ${least} to 65535, or a service name`)
}

function args(address: Address, syntax: string, count: number): readonly string[] {
  if (address.args.length === count && address.args.every(arg => arg !== '')) return address.args
  throw wrong(address, `it has ${address.args.length} arguments instead of ${count}`, `Write \`${syntax}\``)
}

function wrong(address: Address, why: string, fix: string): RelayError {
  return new RelayError('usage', { what: `address \`${address.text}\``, why, fix })
}
