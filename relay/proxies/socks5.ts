import { isIP, isIPv4 } from 'node:net'
import type { ErrorCode } from '../errors.ts'
import { ipBytes, ipOfBytes } from './ip-bytes.ts'
import type { Parsed, Parser } from './talk.ts'

/** How a client shows who it is. */
export const methods = { none: 0, password: 2, unacceptable: 0xff } as const

export interface Socks5Request {
  readonly command: number
  /** As it was sent: an IP address, or a name that nobody has checked. */
  readonly host: string
  readonly port: number
}

export interface Login {
  readonly user: string
  readonly password: string
}

export interface Socks5Reply {
  readonly code: number
  /** In words, with its number. */
  readonly text: string
}

const notSocks = 'it is no SOCKS5'

export function socks5Greeting(offered: readonly number[]): Buffer {
  return Buffer.from([5, offered.length, ...offered])
}

export const parseSocks5Greeting: Parser<readonly number[]> = bytes => {
  if (bytes.length > 0 && bytes[0] !== 5) return { problem: notSocks }
  const count = bytes[1]
  if (count === undefined || bytes.length < 2 + count) return undefined
  return { value: [...bytes.subarray(2, 2 + count)], length: 2 + count }
}

export function socks5Choice(method: number): Buffer {
  return Buffer.from([5, method])
}

export const parseSocks5Choice: Parser<number> = bytes => {
  if (bytes.length > 0 && bytes[0] !== 5) return { problem: `${notSocks} proxy` }
  return bytes.length < 2 ? undefined : { value: bytes[1]!, length: 2 }
}

export function socks5Login({ user, password }: Login): Buffer {
  const fields = [user, password].map(text => Buffer.from(text))
  return Buffer.concat([Buffer.from([1]), ...fields.flatMap(field => [Buffer.from([field.length]), field])])
}

export const parseSocks5Login: Parser<Login> = bytes => {
  if (bytes.length > 0 && bytes[0] !== 1) return { problem: 'it is no login of SOCKS5' }
  const passwordAt = 2 + (bytes[1] ?? Infinity)
  const end = passwordAt + 1 + (bytes[passwordAt] ?? Infinity)
  if (bytes.length < end) return undefined
  const [user, password] = [
    bytes.toString('utf8', 2, passwordAt),
    bytes.toString('utf8', passwordAt + 1, end),
  ]
  return { value: { user, password }, length: end }
}

export function socks5LoginAnswer(isWelcome: boolean): Buffer {
  return Buffer.from([1, isWelcome ? 0 : 1])
}

export const parseSocks5LoginAnswer: Parser<boolean> = bytes => {
  // Some proxies say 5 where the protocol has 1.
  if (bytes.length > 0 && bytes[0] !== 1 && bytes[0] !== 5) return { problem: 'it is no answer to a login' }
  return bytes.length < 2 ? undefined : { value: bytes[1] === 0, length: 2 }
}

export const connectCommand = 1

export function socks5Request(host: string, port: number): Buffer {
  return frame(connectCommand, host, port)
}

export const parseSocks5Request: Parser<Socks5Request> = bytes => {
  const framed = parseFrame(bytes, `${notSocks} request`)
  if (!framed || 'problem' in framed) return framed
  const { second: command, host, port } = framed.value
  return { value: { command, host, port }, length: framed.length }
}

/** Where a connection comes from is nobody's business, so the address in it is always the same. */
export function socks5Reply(code: number): Buffer {
  return frame(code, '0.0.0.0', 0)
}

export const parseSocks5Reply: Parser<Socks5Reply> = bytes => {
  const framed = parseFrame(bytes, `${notSocks} reply`)
  if (!framed || 'problem' in framed) return framed
  const code = framed.value.second
  const text = codes[code]?.text ?? 'a code that SOCKS5 does not have'
  return { value: { code, text: `${text} (${code})` }, length: framed.length }
}

/** What a proxy's refusal is to us. */
export function errorCodeOf({ code }: Socks5Reply): ErrorCode {
  return codes[code]?.error ?? 'refused'
}

/** How our own failure to connect is told to a client. */
export function replyCodeFor(error: ErrorCode): number {
  return replies[error] ?? generalFailure
}

export const succeeded = 0
const generalFailure = 1
export const commandNotSupported = 7

const codes: Record<number, { text: string; error: ErrorCode }> = {
  1: { text: 'general SOCKS server failure', error: 'refused' },
  2: { text: 'connection not allowed by ruleset', error: 'denied' },
  3: { text: 'network unreachable', error: 'unreachable' },
  4: { text: 'host unreachable', error: 'unreachable' },
  5: { text: 'connection refused', error: 'refused' },
  6: { text: 'TTL expired', error: 'timed-out' },
  7: { text: 'command not supported', error: 'unsupported' },
  8: { text: 'address type not supported', error: 'unsupported' },
}

const replies: Partial<Record<ErrorCode, number>> = {
  denied: 2,
  unreachable: 4,
  unresolved: 4,
  refused: 5,
  'timed-out': 6,
}

function frame(second: number, host: string, port: number): Buffer {
  const address = isIPv4(host)
    ? [1, ...ipBytes(host)]
    : isIP(host) === 6
      ? [4, ...ipBytes(host)]
      : [3, host.length, ...Buffer.from(host, 'latin1')]
  return Buffer.from([5, second, 0, ...address, port >> 8, port & 0xff])
}

function parseFrame(
  bytes: Buffer,
  problem: string,
): Parsed<{ second: number; host: string; port: number }> | undefined {
  if (bytes.length > 0 && bytes[0] !== 5) return { problem }
  const [, second, , type, first] = bytes
  if (second === undefined || type === undefined) return undefined
  const size = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? first : undefined
  if (size === undefined)
    return type === 3 ? undefined : { problem: `address type ${type} is none of SOCKS5` }
  const start = type === 3 ? 5 : 4
  const end = start + size
  if (bytes.length < end + 2) return undefined
  const field = bytes.subarray(start, end)
  const host = type === 3 ? field.toString('latin1') : ipOfBytes(field)
  return { value: { second, host, port: bytes.readUInt16BE(end) }, length: end + 2 }
}
