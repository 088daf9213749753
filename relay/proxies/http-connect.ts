import { shown } from '../address.ts'
import type { ErrorCode } from '../errors.ts'
import type { Parser } from './talk.ts'

export interface HttpAnswer {
  readonly status: number
  /** As the proxy wrote it, fit to be shown. */
  readonly statusLine: string
}

/** More than any proxy says before a tunnel begins. */
const longestHead = 16_384

/** `target` is `host:port`; `credentials` are `user:password`. */
export function connectRequest(target: string, version: '1.0' | '1.1', credentials?: string): string {
  const authorization =
    credentials === undefined
      ? ''
      : `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\n`
  return `CONNECT ${target} HTTP/${version}\r\nHost: ${target}\r\n${authorization}\r\n`
}

/** Reads a whole head, to its empty line. With `ignoreCr` a line ends with LF, whatever CRs there are. */
export function connectAnswer(ignoreCr: boolean): Parser<HttpAnswer> {
  return bytes => {
    const start = bytes.toString('latin1', 0, 9)
    if (!/^HTTP\/1\.\d $/.test(start) && !'HTTP/1.x '.startsWith(start.replace(/\.\d/, '.x'))) {
      return { problem: 'it is no HTTP proxy' }
    }
    const text = bytes.toString('latin1', 0, longestHead)
    const [lineEnd] = /\r*\n/.exec(text) ?? []
    if (lineEnd === '\n' && !ignoreCr) {
      return { problem: 'it ends its lines without CR; write `ignorecr` if that is its habit' }
    }
    const end = (ignoreCr ? /\n\r*\n/ : /\r\n\r\n/).exec(text)
    if (!end) return bytes.length >= longestHead ? { problem: 'its HTTP head is too long' } : undefined
    const statusLine = /^[^\r\n]*/.exec(text)![0]
    const [, status] = /^HTTP\/1\.\d +([1-5]\d\d)( |$)/.exec(statusLine) ?? []
    if (status === undefined) return { problem: 'it is no HTTP proxy' }
    return {
      value: { status: Number(status), statusLine: shown(statusLine) },
      length: end.index + end[0].length,
    }
  }
}

/** What a proxy's refusal is to us. */
export function errorCodeOf({ status }: HttpAnswer): ErrorCode {
  return codes[status] ?? 'refused'
}

const codes: Record<number, ErrorCode> = {
  401: 'unauthenticated',
  403: 'denied',
  407: 'unauthenticated',
  502: 'unreachable',
  503: 'unreachable',
  504: 'timed-out',
}
