import { isIPv4, isIPv6 } from 'node:net'
import { crc32c } from './crc32c.ts'
import { ipBytes, ipOfBytes } from './ip-bytes.ts'
import type { Parser } from './talk.ts'

/** One end of a connection: an IP in its canonical form, and a port. */
export interface End {
  readonly ip: string
  readonly port: number
}

/** A connection as the proxy has seen it: who came, and to where. */
export interface ProxiedEnds {
  readonly source: End
  readonly destination: End
}

export type ProxyVersion = 'v1' | 'v2'

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const longestV1 = 107
const headLength = 16
/** Of version 2, what follows its first 16 bytes: addresses, and whatever else a proxy has to tell. */
const longestRest = 16_384
const notProxy = 'it does not begin with a PROXY header'

/** The ends of the connection; undefined when the proxy speaks for itself, or does not know them. */
export const parseProxyHeader: Parser<ProxiedEnds | undefined> = bytes => {
  const start = bytes.subarray(0, signature.length)
  if (start.equals(signature.subarray(0, start.length))) return parseV2(bytes)
  if ('PROXY '.startsWith(bytes.toString('latin1', 0, 6))) return parseV1(bytes)
  return { problem: notProxy }
}

function parseV1(bytes: Buffer): ReturnType<typeof parseProxyHeader> {
  const end = bytes.subarray(0, longestV1).indexOf('\r\n')
  if (end < 0) return bytes.length >= longestV1 ? { problem: 'its PROXY header is too long' } : undefined
  const line = bytes.toString('latin1', 0, end)
  const length = end + 2
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) return { value: undefined, length }
  const [, family, from = '', to = '', fromPort, toPort] =
    /^PROXY TCP([46]) (\S+) (\S+) (\d+) (\d+)$/.exec(line) ?? []
  const isIp = family === '4' ? isIPv4 : isIPv6
  const source = { ip: from, port: readPort(fromPort) }
  const destination = { ip: to, port: readPort(toPort) }
  if (family === undefined || !isIp(from) || !isIp(to) || from.includes('%') || to.includes('%')) {
    return { problem: 'its PROXY header is damaged' }
  }
  if (source.port === undefined || destination.port === undefined) {
    return { problem: 'its PROXY header has a port that is none' }
  }
  return {
    value: { source: canonicalEnd(source as End), destination: canonicalEnd(destination as End) },
    length,
  }
}

/** Leading zeros are not of the protocol: some readers take them for octal. */
function readPort(text = ''): number | undefined {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined
}

const canonicalEnd = ({ ip, port }: End): End => ({ ip: ipOfBytes(ipBytes(ip)), port })

const local = 0x20
const proxied = 0x21
const addressSizes: Record<number, number> = { 0: 0, 1: 12, 2: 36, 3: 216 }
const checksumType = 0x03

function parseV2(bytes: Buffer): ReturnType<typeof parseProxyHeader> {
  if (bytes.length < headLength) return undefined
  const [command, protocol] = [bytes[12]!, bytes[13]!]
  const rest = bytes.readUInt16BE(14)
  if (command !== local && command !== proxied) return { problem: 'its PROXY header has an unknown command' }
  if (rest > longestRest) return { problem: 'its PROXY header is too long' }
  const length = headLength + rest
  if (bytes.length < length) return undefined
  // What a proxy says of itself, or of an unknown kind of connection, is stepped over whatever it is.
  if (command === local || protocol === 0) return { value: undefined, length }
  const family = protocol >> 4
  const size = addressSizes[family]
  if (size === undefined || (protocol & 0xf) > 2 || rest < size) {
    return { problem: 'its PROXY header has an address of an unknown kind' }
  }
  const header = bytes.subarray(0, length)
  const problem = checkExtras(header, headLength + size)
  if (problem !== undefined) return { problem }
  if (family !== 1 && family !== 2) return { value: undefined, length }
  const width = family === 1 ? 4 : 16
  const ports = headLength + 2 * width
  const at = (nth: number) => headLength + nth * width
  const end = (nth: number) => ({
    ip: ipOfBytes(header.subarray(at(nth), at(nth + 1))),
    port: header.readUInt16BE(ports + 2 * nth),
  })
  return { value: { source: end(0), destination: end(1) }, length }
}

/** What else a proxy tells is stepped over, but a checksum must be right. */
function checkExtras(header: Buffer, from: number): string | undefined {
  let at = from
  while (at < header.length) {
    const end = at + 3 + (at + 3 <= header.length ? header.readUInt16BE(at + 1) : Infinity)
    if (end > header.length) return 'its PROXY header is damaged'
    if (header[at] === checksumType) {
      if (end !== at + 7) return 'its PROXY header is damaged'
      const unsummed = Buffer.from(header)
      unsummed.fill(0, at + 3, end)
      if (crc32c(unsummed) !== header.readUInt32BE(at + 3)) return 'its PROXY header has a wrong checksum'
    }
    at = end
  }
  return undefined
}

/** Without ends: that they are not known. Ends of different IP versions are written as IPv6. */
export function proxyHeader(version: ProxyVersion, ends: ProxiedEnds | undefined): Buffer {
  return version === 'v1' ? headerV1(ends) : headerV2(ends)
}

function headerV1(ends: ProxiedEnds | undefined): Buffer {
  if (!ends) return Buffer.from('PROXY UNKNOWN\r\n')
  const { source, destination } = ends
  const isV4 = isIPv4(source.ip) && isIPv4(destination.ip)
  const written = ({ ip }: End) => (isV4 || isIPv6(ip) ? ip : `::ffff:${ip}`)
  const ips = `${written(source)} ${written(destination)}`
  return Buffer.from(`PROXY TCP${isV4 ? 4 : 6} ${ips} ${source.port} ${destination.port}\r\n`)
}

function headerV2(ends: ProxiedEnds | undefined): Buffer {
  if (!ends) return Buffer.concat([signature, Buffer.from([local, 0, 0, 0])])
  const { source, destination } = ends
  const isV4 = isIPv4(source.ip) && isIPv4(destination.ip)
  const written = ({ ip }: End) => ipBytes(isV4 || isIPv6(ip) ? ip : `::ffff:${ip}`)
  const ips = [source, destination].flatMap(end => [...written(end)])
  const ports = [source, destination].flatMap(({ port }) => [port >> 8, port & 0xff])
  const length = ips.length + ports.length
  return Buffer.concat([signature, Buffer.from([proxied, isV4 ? 0x11 : 0x21, 0, length, ...ips, ...ports])])
}
