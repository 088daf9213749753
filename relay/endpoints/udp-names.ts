import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { canonicalIp } from '../ip.ts'
import type { IpVersion } from './ip-parts.ts'
import { lookUp } from './names.ts'
import { defaultConnectTimeoutMs } from './tcp-dial.ts'
import type { Binding } from './udp-socket.ts'

/** Where a listener's socket is bound, once a name in `bind` has become an address. */
export async function bindingOf(
  target: {
    readonly scope: Address
    readonly host: string
    readonly port: number
    readonly family: IpVersion | undefined
    readonly options: { readonly ipv6only?: boolean }
  },
  cx: OpenContext,
): Promise<Binding> {
  const { scope, port, options } = target
  const [host] = await addressesOf(target, cx, defaultConnectTimeoutMs)
  if (cx.signal.aborted) throw RelayError.from(cx.signal.reason, scope.text)
  return { scope, host: host!, port, ipv6only: options.ipv6only, whose: 'arrivals' }
}

/** All addresses of a host, best first, at least one. An IPv4 address in the form of an IPv6 one is that of IPv4. */
export async function addressesOf(
  { host, family, scope }: { host: string; family: IpVersion | undefined; scope: Address },
  cx: OpenContext,
  timeoutMs: number,
): Promise<readonly string[]> {
  if (canonicalIp(host) !== undefined) return [host]
  const found = await lookUp(host, cx, timeoutMs, scope.text)
  const fitting = found.filter(entry => !family || entry.family === family)
  if (fitting.length > 0) return fitting.map(({ address }) => plain(address))
  const why = family && found.length > 0 ? `${host} has no IPv${family} address` : `${host} has no address`
  throw new RelayError('unresolved', { what: scope.text, why, fix: 'Check the name, or write an IP address' })
}

function plain(address: string): string {
  return address.includes('%') ? address : (canonicalIp(address) ?? address)
}
