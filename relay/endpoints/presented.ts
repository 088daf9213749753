import { isIP } from 'node:net'
import type { Channel, OpenContext, Peer } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { type Cidr, contains } from '../ip.ts'
import {
  type ProxiedEnds,
  type ProxyVersion,
  parseProxyHeader,
  proxyHeader,
} from '../proxies/proxy-header.ts'
import { talkOver } from '../proxies/talk.ts'
import type { Screen } from './handshakes.ts'
import { hostPort } from './ip-parts.ts'

/** A proxy sends its header at once, for it has it when it connects. */
const headerMs = 5_000

/** Nobody else may say who their clients are, and who may has to. The others are reset and told of. */
export function onlyFrom(trusted: readonly Cidr[], cx: OpenContext): (peer: Peer) => boolean {
  return peer => {
    const { ip } = peer
    // Who has left already is nobody any more.
    if (ip === undefined) return false
    const isTrusted = trusted.some(network => contains(network, ip))
    if (!isTrusted) cx.turnedAway?.('untrusted-proxy', peer)
    return isTrusted
  }
}

/** Lets the proxy present its client, who from then on is the peer: `screen` is asked about nobody else. */
export function presented(what: string, screen: (peer: Peer) => boolean, through: Screen): Screen {
  const talking = { what, language: 'PROXY protocol', misspoken: 'usage', withinMs: headerMs } as const
  return async (inner, cx) => {
    // The proxy is trusted: neither what it does wrong nor what its clients do is laid at its door.
    const failing =
      ({ text, ip }: Peer) =>
      (thrown: unknown) => {
        if (cx.signal.aborted) throw thrown
        const who = { text, ...(ip !== undefined && { ip }) }
        cx.failed?.(RelayError.from(thrown, what).within(`handshake with ${text}`), who)
        return undefined
      }
    const heard = talkOver(inner, cx, talking, talk => talk.hear(parseProxyHeader)).then(ends => ({ ends }))
    const header = await heard.catch(failing({ text: inner.peer.text }))
    if (!header) return undefined
    const channel = { ...inner, peer: peerOf(header.ends, inner.peer) }
    if (screen(channel.peer)) return through(channel, cx).catch(failing(channel.peer))
    channel.abort(new RelayError('denied', { what, why: 'it was turned away' }))
    await channel[Symbol.asyncDispose]()
    return undefined
  }
}

/** When the proxy speaks for itself, as for its health checks, it is the client. */
function peerOf(ends: ProxiedEnds | undefined, proxy: Peer): Peer {
  if (!ends) return proxy
  const { source, destination } = ends
  const local = () => ({ address: destination.ip, port: destination.port })
  return { text: hostPort(source.ip, source.port), ip: source.ip, local }
}

/** Says who the client is, before anything else. Gives the channel back. */
export function present(
  channel: Channel,
  version: ProxyVersion | undefined,
  { client }: Pick<OpenContext, 'client'>,
): Channel {
  if (version) channel.stream.write(proxyHeader(version, endsOf(client)))
  return channel
}

/** Undefined where the client has no IP, or the listener does not know where it was reached. */
function endsOf(client: Peer | undefined): ProxiedEnds | undefined {
  const { ip, text = '' } = client ?? {}
  const { address = '', port } = client?.local?.() ?? {}
  if (ip === undefined || port === undefined || isIP(address) === 0) return undefined
  return {
    source: { ip, port: Number(/:(\d+)$/.exec(text)?.[1] ?? 0) },
    destination: { ip: address, port },
  }
}
