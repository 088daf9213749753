import { isIP } from 'node:net'
import type { Address } from '../address.ts'
import { RelayError } from '../errors.ts'
import { readHost } from '../option-types.ts'
import { readPort } from '../ports.ts'

export type IpVersion = 4 | 6

/** `10.0.0.1:80`, `[::1]:80`. */
export function hostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** The scope of an address that is a host and a port. */
export function ipScope(address: Address, keyword: string, host: string, port: number): Address {
  const at = address.host === undefined ? {} : { host: address.host }
  const written = hostPort(host, port)
  const args = [written.slice(0, -String(port).length - 1), String(port)]
  return { keyword, args, options: [], ...at, text: `${keyword}:${written}` }
}

/** The one IP version that the keyword, `pf` and a literal address agree on, if any of them says one. */
export function agreedVersion(
  address: Address,
  version: IpVersion | undefined,
  pf: IpVersion | undefined,
  host: string,
): IpVersion | undefined {
  const literal = /^[\d.]+$/.test(host) ? 4 : host.includes(':') ? 6 : undefined
  const said = [version, pf, literal].filter((family): family is IpVersion => family !== undefined)
  if (new Set(said).size > 1) {
    const why = `${version ? address.keyword : `\`pf=ip${pf}\``} and \`${literal ? host : `pf=ip${pf}`}\` are different IP versions`
    throw wrongAddress(address, why, 'Keep one of them')
  }
  return said[0]
}

export function hostArg(address: Address, text: string): string {
  const host = readHost(text)
  if (host !== undefined) return host
  throw wrongAddress(address, `\`${text}\` is neither a host name nor an IP address`, '')
}

export function portArg(address: Address, text: string, least: 0 | 1): number {
  const port = readPort(text)
  if (port !== undefined && port >= least) return port
  throw wrongAddress(
    address,
    `\`${text}\` is no port`,
    `Write a number from ${least} to 65535, or a service name`,
  )
}

/** The address's arguments, if there are as many as its syntax has, none of them empty. */
/** `bind=127.0.0.1:4711` as the two options that it stands for, `bind=127.0.0.1,sourceport=4711`. */
export function withBindPort(address: Address): Address {
  const options = address.options.flatMap(option => {
    const [, host = '', port] = /^(\[[^\]]*\]|[^:[]*):(\w+)$/.exec(option.value ?? '') ?? []
    if (option.name !== 'bind' || port === undefined) return [option]
    const sourceport = { name: 'sourceport', value: port, at: option.at }
    return host === '' ? [sourceport] : [{ ...option, value: host }, sourceport]
  })
  return { ...address, options }
}

export function argsOf(address: Address, syntax: string, count: number): readonly string[] {
  if (address.args.length === count && address.args.every(arg => arg !== '')) return address.args
  throw wrongAddress(
    address,
    `it has ${address.args.length} arguments instead of ${count}`,
    `Write \`${syntax}\``,
  )
}

export function wrongAddress(address: Address, why: string, fix: string): RelayError {
  return new RelayError('usage', { what: `address \`${address.text}\``, why, fix })
}
