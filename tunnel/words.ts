import type { Channel } from '#relay/endpoint.ts'
import { type ErrorCode, errorCodes, RelayError } from '#relay/errors.ts'

/** What the initiator says of a conversation. The answering agent shows it and believes none of it. */
export interface Opening {
  /** Of the initiator's choice: both ends list the conversation by it. */
  readonly id: string
  /** Who came to the initiator. */
  readonly source: string
  /** The target will only be read, or only be written. */
  readonly uses?: 'read' | 'write'
}

/** What the answering agent says of a target that is open. */
export interface Opened {
  readonly framing: Channel['framing']
  readonly peer: string
  readonly oneWay?: 'source' | 'sink'
  readonly idleMs?: number
  readonly hangsUp?: true
}

export const encodeOpening = ({ id, source, uses }: Opening): Buffer =>
  Buffer.from(JSON.stringify({ id, source: short(source), uses }))

export const encodeOpened = (words: Opened): Buffer =>
  Buffer.from(JSON.stringify({ ...words, peer: short(words.peer) }))

export function encodeReason({ code, what, why, fix }: RelayError): Buffer {
  return Buffer.from(JSON.stringify({ code, what: short(what), why: short(why), fix: short(fix) }))
}

/** Three such texts go into one frame, even if JSON needs six letters for each of theirs. */
const mostText = 640
const short = (text: string) => (text.length > mostText ? `${text.slice(0, mostText)}…` : text)

/** Throws a RelayError on what is no opening. */
export function readOpening(payload: Buffer): Opening {
  const { id, source, uses } = read(payload)
  if (!isText(id) || !isText(source) || !/^[\w.-]{1,128}$/.test(id)) throw nonsense()
  return { id, source: short(source), ...(uses === 'read' || uses === 'write' ? { uses } : {}) }
}

/** Throws a RelayError on what is no answer. */
export function readOpened(payload: Buffer): Opened {
  const { framing, peer, oneWay, idleMs, hangsUp } = read(payload)
  if (!isText(peer) || (framing !== 'stream' && framing !== 'datagram')) throw nonsense()
  return {
    framing,
    peer: short(peer),
    ...((oneWay === 'source' || oneWay === 'sink') && { oneWay }),
    ...(typeof idleMs === 'number' && idleMs > 0 && { idleMs }),
    ...(hangsUp === true && { hangsUp }),
  }
}

/** Why the far side says no, or cuts. Throws a RelayError on what is no reason. */
export function readReason(payload: Buffer): RelayError {
  const { code, what, why, fix } = read(payload)
  if (!isText(what)) throw nonsense()
  // A newer far side may know more codes; what it says in words is still good.
  const known: ErrorCode = errorCodes.find(each => each === code) ?? 'internal'
  return new RelayError(known, { what, ...(isText(why) && { why }), ...(isText(fix) && { fix }) })
}

function read(payload: Buffer): Record<string, unknown> {
  try {
    const words: unknown = JSON.parse(payload.toString('utf8'))
    if (typeof words === 'object' && words !== null) return words as Record<string, unknown>
  } catch {}
  throw nonsense()
}

const isText = (value: unknown): value is string => typeof value === 'string'

const nonsense = () =>
  new RelayError('reset', { what: 'the tunnel', why: 'the far side says what makes no sense' })
