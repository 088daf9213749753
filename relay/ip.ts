import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import { shown } from './address.ts'
import { RelayError } from './errors.ts'

type Parsed = ipaddr.IPv4 | ipaddr.IPv6

/**
 * The one spelling of an IP address, or undefined when `text` is none (a host name, for instance). The odd forms
 * that resolvers accept are read as they read them: `127.1`, `0x7f.1`, `2130706433`, `017700000001`. IPv4 inside
 * IPv6 (`::ffff:10.0.0.1`) becomes the IPv4 address, for that is who answers. Brackets and zone ids are dropped.
 */
export function canonicalIp(text: string): string | undefined {
  // Four plain numbers are canonical already, and a relay asks about them for each connection.
  return isIPv4(text) ? text : parse(text)?.toString()
}

/** An IPv6 address with all of its digits, any other text as it is. */
export function fullIp(text: string): string {
  const ip = parse(text)
  if (ip?.kind() !== 'ipv6') return text
  return (ip as ipaddr.IPv6).parts.map(part => part.toString(16).padStart(4, '0')).join(':')
}

/** A network in CIDR form. */
export interface Cidr {
  /** Canonical: `10.0.0.0/8`. */
  readonly text: string
  readonly family: 4 | 6
  readonly bytes: readonly number[]
  readonly bits: number
}

/**
 * Reads `10.0.0.0/8`, `[::1]/128`, `[::1/128]`, `10.0.0.0:255.0.0.0` (socat's older form) and a bare IP, which is a
 * network of one. Throws a RelayError `usage` on anything else, and on bits to the right of the mask, which are
 * nearly always a mistake.
 */
export function parseCidr(text: string): Cidr {
  const refuse = (why: string, fix: string) =>
    new RelayError('usage', { what: `network \`${shown(text)}\``, why, fix })
  const bare = text.replace(/^\[(.*)\]$/, '$1')
  const [, host = '', prefix] = /^([^/]*?)(?:\/([^/]*))?$/.exec(bare) ?? []
  const masked = prefix === undefined ? /^([\d.]+):([\d.]+)$/.exec(host) : null
  const ip = parse(masked ? masked[1]! : host)
  if (!ip)
    throw refuse('it is neither an IP address nor a CIDR', 'Write e.g. `10.0.0.0/8` or `[2001:db8::]/32`')
  const family = ip.kind() === 'ipv4' ? 4 : 6
  const size = family === 4 ? 32 : 128
  const inside = family === 4 && /:/.test(host) && !masked ? 96 : 0
  const bits = masked
    ? maskBits(masked[2]!)
    : prefix === undefined
      ? size
      : wholeNumber(prefix, size + inside)
  if (bits === undefined || bits < inside) {
    const right = masked ? 'a mask like `255.0.0.0`' : `a number from 0 to ${size}`
    throw refuse(`\`${shown(masked ? masked[2]! : (prefix ?? ''))}\` is no prefix length`, `Write ${right}`)
  }
  const length = masked || prefix === undefined ? bits : bits - inside
  const bytes = ip.toByteArray()
  const network = bytes.map((byte, i) => byte & maskByte(length, i))
  const canonical = `${ipaddr.fromByteArray(network).toString()}/${length}`
  if (network.some((byte, i) => byte !== bytes[i])) {
    throw refuse(
      'it has bits set beyond its prefix length',
      `Write \`${canonical}\` for the network, or \`${ip}/${size}\` for the one host`,
    )
  }
  return { text: canonical, family, bytes: network, bits: length }
}

/**
 * The network that one source has for itself: of IPv4 its address, of IPv6 the /64 that it can pick addresses from.
 * Undefined for text that is no IP.
 */
export function sourceNetwork(ip: string): string | undefined {
  const parsed = parse(ip)
  if (!parsed) return undefined
  if (parsed.kind() === 'ipv4') return `${parsed}/32`
  const bytes = parsed.toByteArray().map((byte, i) => (i < 8 ? byte : 0))
  return `${ipaddr.fromByteArray(bytes)}/64`
}

/** A ceiling asks about one address rule by rule, for each connection. */
let asked: { readonly text: string; readonly bytes: readonly number[] | undefined } = {
  text: '',
  bytes: undefined,
}

function bytesOf(text: string): readonly number[] | undefined {
  if (asked.text !== text) asked = { text, bytes: parse(text)?.toByteArray() }
  return asked.bytes
}

/** Is `ip` inside the network? Text that is no IP is inside none. */
export function contains(cidr: Cidr, ip: string): boolean {
  const bytes = bytesOf(ip)
  if (!bytes || bytes.length !== cidr.bytes.length) return false
  return cidr.bytes.every((byte, i) => ((bytes[i]! ^ byte) & maskByte(cidr.bits, i)) === 0)
}

/** Have the two networks an address in common? Then one is inside the other. */
export function overlap(one: Cidr, other: Cidr): boolean {
  const [wider, narrower] = one.bits <= other.bits ? [one, other] : [other, one]
  return contains(wider, narrower.text.replace(/\/.*/, ''))
}

/**
 * Why `ip` may not be a target unless the ceiling names it exactly; undefined when nothing is special about it.
 * An address that carries an IPv4 address inside (NAT64, 6to4) is judged by that one too.
 */
export function alwaysDenied(ip: string): string | undefined {
  const canonical = canonicalIp(ip)
  if (canonical === undefined) return undefined
  for (const form of [canonical, embeddedIpv4(canonical)]) {
    if (form === undefined) continue
    const rule = denied.find(({ cidr }) => contains(cidr, form))
    if (rule) return form === canonical ? rule.reason : `it carries ${form}, and ${rule.reason}`
  }
  return undefined
}

/** The IPv4 address that a translator would reach for this IPv6 address: NAT64, 6to4 and the deprecated `::a.b.c.d`. */
export function embeddedIpv4(ip: string): string | undefined {
  const parsed = parse(ip)
  if (parsed?.kind() !== 'ipv6' || parsed.toString() === '::1') return undefined
  const bytes = parsed.toByteArray()
  const at = carriers.find(({ cidr }) => contains(cidr, ip))?.offset
  return at === undefined ? undefined : bytes.slice(at, at + 4).join('.')
}

const carriers = [
  { cidr: parseCidr('64:ff9b::/96'), offset: 12 },
  { cidr: parseCidr('64:ff9b:1::/48'), offset: 12 },
  { cidr: parseCidr('2002::/16'), offset: 2 },
  { cidr: parseCidr('::/96'), offset: 12 },
]

const denied = [
  { cidr: '169.254.0.0/16', reason: '169.254.0.0/16 holds link-local and cloud metadata services' },
  { cidr: 'fe80::/10', reason: 'fe80::/10 is link-local' },
  { cidr: '0.0.0.0/8', reason: '0.0.0.0/8 means "this host" to some systems' },
  { cidr: '::/128', reason: ':: means "this host" to some systems' },
  { cidr: 'fd00:ec2::254/128', reason: 'fd00:ec2::254 is a cloud metadata service' },
].map(({ cidr, reason }) => ({ cidr: parseCidr(cidr), reason }))

function parse(text: string): Parsed | undefined {
  if (text.length > 64) return undefined
  const bare = text.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '')
  if (/^[0-9a-fx.]+$/i.test(bare)) {
    const bytes = looseIpv4(bare)
    if (bytes) return new ipaddr.IPv4(bytes)
  }
  if (!bare.includes(':') || !ipaddr.IPv6.isValid(bare)) return undefined
  const ip = ipaddr.IPv6.parse(bare)
  return ip.isIPv4MappedAddress() ? ip.toIPv4Address() : ip
}

/** As inet_aton(3): one to four parts, each decimal, 0octal or 0xhex; the last one fills what is left. */
function looseIpv4(text: string): number[] | undefined {
  const parts = text.split('.')
  if (parts.length > 4) return undefined
  const numbers: number[] = []
  for (const part of parts) {
    if (!/^(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)$/i.test(part)) return undefined
    numbers.push(/^0[0-7]/.test(part) ? Number.parseInt(part, 8) : Number(part))
  }
  const last = numbers.pop()!
  if (numbers.some(n => n > 255) || last >= 256 ** (4 - numbers.length)) return undefined
  for (let left = 4 - numbers.length - 1, rest = last; left >= 0; left--) {
    const unit = 256 ** left
    numbers.push(Math.floor(rest / unit))
    rest %= unit
  }
  return numbers
}

function wholeNumber(text: string, max: number): number | undefined {
  return /^\d{1,3}$/.test(text) && Number(text) <= max ? Number(text) : undefined
}

function maskBits(mask: string): number | undefined {
  const bytes = looseIpv4(mask)
  const binary = bytes?.map(byte => byte.toString(2).padStart(8, '0')).join('')
  return binary && /^1*0*$/.test(binary) ? binary.replaceAll('0', '').length : undefined
}

function maskByte(bits: number, index: number): number {
  const kept = Math.min(8, Math.max(0, bits - index * 8))
  return (0xff << (8 - kept)) & 0xff
}
