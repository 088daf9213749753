import type { Address } from '../address.ts'
import type { Endpoint, EndpointKind } from '../endpoint.ts'
import { retryOptions } from '../option-groups.ts'
import { type OptionGroup, readOptions } from '../options.ts'
import { agreedVersion, argsOf, hostArg, type IpVersion, ipScope, portArg, wrongAddress } from './ip-parts.ts'
import { retrying } from './retrying.ts'
import { dialUdp, type UdpTarget } from './udp-dial.ts'
import { listenUdp, receiveUdp } from './udp-listen.ts'
import {
  multicastOptions,
  udpBindOptions,
  udpFlowOptions,
  udpHearingOptions,
  udpMergeOptions,
  udpOptions,
  udpTargetOptions,
} from './udp-options.ts'

type Version = IpVersion | undefined

const targetGroups = [udpOptions, multicastOptions, udpTargetOptions, retryOptions] as const
const datagramGroups = [...targetGroups, udpHearingOptions] as const
const receiveGroups = [udpOptions, multicastOptions, udpBindOptions, udpMergeOptions, retryOptions] as const
const flowGroups = [udpOptions, multicastOptions, udpBindOptions, udpFlowOptions, retryOptions] as const

/**
 * UDP in socat's six manners, each for either IP version. A chunk is a datagram, and stays one between two kinds of
 * datagrams; between a datagram and a stream the bytes are what is kept.
 */
export const udpKinds: readonly EndpointKind[] = ([undefined, 4, 6] as const).flatMap(version => [
  targetKind(version, '', {
    hears: 'connected',
    aliases: ['-CONNECT'],
    summary: 'one UDP peer; an error when nothing listens there',
  }),
  flowKind(version, '-LISTEN', {
    per: 'peer',
    aliases: ['-L'],
    summary:
      'a UDP port; a conversation for each address and port that sends to it, over after a minute of silence',
  }),
  targetKind(version, '-SENDTO', { hears: 'target', summary: 'one UDP peer, whether it listens or not' }),
  targetKind(version, '-DATAGRAM', {
    hears: 'anyone',
    aliases: ['-DGRAM'],
    summary: 'datagrams to an address, a multicast group or a broadcast address, and from anyone in `range`',
  }),
  flowKind(version, '-RECVFROM', {
    per: 'datagram',
    summary: 'a UDP port; a conversation for each datagram',
  }),
  receiveKind(version),
])

function targetKind(
  version: Version,
  manner: '' | '-SENDTO' | '-DATAGRAM',
  row: Pick<UdpTarget, 'hears'> & { readonly summary: string; readonly aliases?: readonly string[] },
): EndpointKind {
  const keyword = `UDP${version ?? ''}${manner}`
  const { hears, aliases = [] } = row
  const groups: readonly OptionGroup[] = hears === 'anyone' ? datagramGroups : targetGroups
  return {
    keyword,
    aliases: aliases.map(alias => `UDP${version ?? ''}${alias}`),
    syntax: `${keyword}:<host>:<port>`,
    summary: over(version, row.summary),
    groups,
    // A group can be listened to as well as spoken to.
    role: hears === 'anyone' ? 'both' : 'target',
    ...(hears === 'connected' && { knockable: true }),
    ...covering(keyword, version, [manner, '']),
    bind(address) {
      const [hostText, portText] = argsOf(address, `${keyword}:<host>:<port>`, 2)
      const host = hostArg(address, hostText!)
      const port = portArg(address, portText!, 1)
      const options = readOptions(address, datagramGroups)
      const { bind, sourceport, pf } = options
      const family = agreedVersion(address, version, pf, host)
      agreedVersion(address, family, undefined, bind?.host ?? '')
      if (sourceport !== undefined && bind?.port !== undefined && bind.port !== sourceport) {
        throw wrongAddress(address, '`bind` and `sourceport` name different ports', 'Keep one of them')
      }
      const scope = ipScope(address, keyword, host, port)
      const target: UdpTarget = { scope, host, port, family, hears, options, hearing: options }
      const dialer: Endpoint['dialer'] = {
        dial: cx => retrying(options, cx, () => dialUdp(target, cx)),
      }
      const local = sourceport ?? bind?.port
      if (hears !== 'anyone' || local === undefined) return { address, scope, dialer }
      // A port that others can know is a listener, whatever else it is.
      const everywhere = family === 6 ? '::' : '0.0.0.0'
      const listens = ipScope(address, `UDP${version ?? ''}-RECV`, bind?.host ?? everywhere, local)
      return { address, scope, listens, dialer }
    },
  }
}

function flowKind(
  version: Version,
  manner: '-LISTEN' | '-RECVFROM',
  row: {
    readonly per: 'peer' | 'datagram'
    readonly summary: string
    readonly aliases?: readonly string[]
  },
): EndpointKind {
  const keyword = `UDP${version ?? ''}${manner}`
  const { per, aliases = [] } = row
  return {
    keyword,
    aliases: aliases.map(alias => `UDP${version ?? ''}${alias}`),
    syntax: `${keyword}:<port>`,
    summary: over(version, row.summary),
    groups: flowGroups,
    role: 'listen',
    ...covering(keyword, version, [manner, '-LISTEN']),
    bind(address) {
      const options = readOptions(address, flowGroups)
      const place = listeningPlace(address, keyword, version, options)
      const target = { ...place, per, options }
      const { range, allow, deny, maxChildren } = options
      return {
        address,
        scope: place.scope,
        acceptor: { listen: cx => retrying(options, cx, () => listenUdp(target, cx)) },
        admission: { range, allow, deny, maxChildren },
      }
    },
  }
}

function receiveKind(version: Version): EndpointKind {
  const keyword = `UDP${version ?? ''}-RECV`
  return {
    keyword,
    aliases: [`UDP${version ?? ''}-RECEIVE`],
    syntax: `${keyword}:<port>`,
    summary: over(version, 'a UDP port; one conversation of all that anyone sends to it, without replies'),
    groups: receiveGroups,
    role: 'listen',
    ...covering(keyword, version, ['-RECV', '-LISTEN']),
    bind(address) {
      const options = readOptions(address, receiveGroups)
      const place = listeningPlace(address, keyword, version, options)
      const target = { ...place, options }
      const { range, allow, deny } = options
      return {
        address,
        scope: place.scope,
        acceptor: { listen: cx => retrying(options, cx, () => receiveUdp(target, cx)) },
        admission: { range, allow, deny },
      }
    },
  }
}

function listeningPlace(
  address: Address,
  keyword: string,
  version: Version,
  { bind, pf }: { readonly bind?: string; readonly pf?: IpVersion },
) {
  const [portText] = argsOf(address, `${keyword}:<port>`, 1)
  const port = portArg(address, portText!, 0)
  const family = agreedVersion(address, version, pf, bind ?? '')
  const host = bind ?? (family === 6 ? '::' : '0.0.0.0')
  return { scope: ipScope(address, keyword, host, port), host, port, family }
}

function over(version: Version, summary: string): string {
  return version ? `${summary}, over IPv${version}` : summary
}

/** Whoever permits or forbids UDP to a place means each of its manners, and so with listening. */
function covering(
  keyword: string,
  version: Version,
  manners: readonly string[],
): Pick<EndpointKind, 'covers'> {
  const wider = new Set(manners.flatMap(manner => [`UDP${manner}`, `UDP${version ?? ''}${manner}`]))
  wider.delete(keyword)
  return wider.size > 0 ? { covers: [...wider] } : {}
}
