import { isIPv4 } from 'node:net'
import type { Parsed, Parser } from './talk.ts'

export interface Socks4Request {
  readonly command: number
  /** As it was sent: an IPv4 address, or with SOCKS4A a name that nobody has checked. */
  readonly host: string
  readonly port: number
  readonly user: string
}

export const connectCommand = 1

const granted = 0x5a
const longestName = 255
const headLength = 8

/** `host` is an IPv4 address, or for SOCKS4A a name. */
export function socks4Request({ host, port, user }: Omit<Socks4Request, 'command'>): Buffer {
  const ip = isIPv4(host) ? host : '0.0.0.1'
  const name = isIPv4(host) ? '' : `${host}\0`
  const head = [4, connectCommand, port >> 8, port & 0xff, ...ip.split('.').map(Number)]
  return Buffer.concat([Buffer.from(head), Buffer.from(`${user}\0${name}`)])
}

export const parseSocks4Request: Parser<Socks4Request> = bytes => {
  if (bytes.length > 0 && bytes[0] !== 4) return { problem: 'it is no SOCKS4 request' }
  const user = text(bytes, headLength)
  if (!user || 'problem' in user) return user
  const ip = bytes.subarray(4, headLength).join('.')
  const request = { command: bytes[1]!, port: bytes.readUInt16BE(2), user: user.value }
  // An address that cannot be one announces a name: that is all that SOCKS4A adds.
  if (!/^0\.0\.0\.[1-9]/.test(ip)) return { value: { ...request, host: ip }, length: user.length }
  const name = text(bytes, user.length)
  if (!name || 'problem' in name) return name
  return { value: { ...request, host: name.value }, length: name.length }
}

/** `length` counts from the start of the request. */
function text(bytes: Buffer, from: number): Parsed<string> | undefined {
  const end = bytes.indexOf(0, from)
  if (end - from > longestName || (end < 0 && bytes.length - from > longestName)) {
    return { problem: 'a name in the SOCKS4 request is too long' }
  }
  return end < 0 ? undefined : { value: bytes.toString('latin1', from, end), length: end + 1 }
}

export function socks4Reply(isGranted: boolean): Buffer {
  return Buffer.from([0, isGranted ? granted : 0x5b, 0, 0, 0, 0, 0, 0])
}

/** Why the proxy refused; undefined when it granted the request. */
export const parseSocks4Reply: Parser<string | undefined> = bytes => {
  // Some proxies say 4 where the protocol has 0.
  if (bytes.length > 0 && bytes[0] !== 0 && bytes[0] !== 4) return { problem: 'it is no SOCKS4 proxy' }
  if (bytes.length < headLength) return undefined
  const code = bytes[1]!
  const reason = reasons[code] ?? `code ${code}, which SOCKS4 does not have`
  return { value: code === granted ? undefined : reason, length: headLength }
}

const reasons: Record<number, string> = {
  91: 'request rejected or failed (91)',
  92: 'request rejected, for the proxy cannot ask identd who we are (92)',
  93: 'request rejected, for identd says that we are another user (93)',
}
