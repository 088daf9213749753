import { type ErrorCode, errorCodes, RelayError } from '../errors.ts'

/** What a copy is of. */
export type Kind = 'file' | 'directory'

/** An entry of what is copied, named by its path from there. */
export interface Listed {
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'link'
  readonly size: number
  readonly mtimeMs: number
}

/** What the receiver has of a listed entry. */
export interface Answer {
  /** `there`: the same already, as its size, its time and `sha256` say. */
  readonly is: 'new' | 'replaced' | 'there' | 'refused'
  readonly sha256: string
  readonly why: string
  /** Of a part of a file: the SHA-256 of as much as each offset says, the offsets rising. */
  readonly marks: readonly Mark[]
}

export interface Mark {
  readonly offset: number
  readonly sha256: string
}

/** What became of a file at the sender. `changed`: it was written to meanwhile, and does not count. */
export interface Sum {
  readonly path: string
  readonly is: 'sent' | 'kept' | 'changed'
  readonly size: number
  /** How much of it the receiver had before. */
  readonly from: number
  readonly sha256: string
}

/** An entry that was left out, and why. */
export interface Refused {
  readonly path: string
  readonly code: ErrorCode
  readonly why: string
}

/**
 * All that the two sides say to each other, beside the bytes of the tar stream. The sender begins with its offer; the
 * receiver accepts, answers what is listed if it `asks` for a list, and is `done` when the target has its name.
 */
export type Message =
  | {
      readonly is: 'offer'
      readonly version: number
      readonly kind: Kind
      readonly name: string
      readonly mode: number
      readonly mtimeMs: number
    }
  | {
      readonly is: 'accept'
      readonly version: number
      readonly target: string
      readonly asks: boolean
      readonly dryRun: boolean
    }
  | { readonly is: 'plan'; readonly files: number; readonly bytes: number; readonly entries: number }
  | { readonly is: 'list'; readonly entries: readonly Listed[] }
  | { readonly is: 'answers'; readonly answers: readonly Answer[] }
  | { readonly is: 'sums'; readonly files: readonly Sum[] }
  | { readonly is: 'refused'; readonly entries: readonly Refused[] }
  | { readonly is: 'end'; readonly files: number; readonly bytes: number; readonly sha256: string }
  | {
      readonly is: 'done'
      readonly target: string
      readonly files: number
      readonly bytes: number
      readonly kept: number
      readonly directories: number
      readonly links: number
      readonly sha256: string
    }
  | {
      readonly is: 'failed'
      readonly code: ErrorCode
      readonly what: string
      readonly why: string
      readonly fix: string
    }

/** Raised when a side could misunderstand another; both sides must have the same. */
export const version = 1

type Check = (value: unknown) => boolean

const text: Check = value => typeof value === 'string'
const flag: Check = value => typeof value === 'boolean'
const count: Check = value => Number.isSafeInteger(value) && (value as number) >= 0
const moment: Check = value => Number.isFinite(value)
const sha256: Check = value => typeof value === 'string' && /^([0-9a-f]{64})?$/.test(value)
const code: Check = value => errorCodes.includes(value as ErrorCode)
const oneOf =
  (...words: string[]): Check =>
  value =>
    words.includes(value as string)
const shape =
  (fields: Readonly<Record<string, Check>>): Check =>
  value =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(fields).every(([name, check]) => check((value as Record<string, unknown>)[name]))
const list =
  (check: Check): Check =>
  value =>
    Array.isArray(value) && value.every(check)

const types = oneOf('file', 'directory', 'symlink', 'link')
const rising: Check = value =>
  (value as Mark[]).every(({ offset }, i) => offset > (i === 0 ? 0 : (value as Mark[])[i - 1]!.offset))
const marks: Check = value => list(shape({ offset: count, sha256 }))(value) && rising(value)

const messages: Readonly<Record<Message['is'], Check>> = {
  offer: shape({
    version: count,
    kind: oneOf('file', 'directory'),
    name: text,
    mode: count,
    mtimeMs: moment,
  }),
  accept: shape({ version: count, target: text, asks: flag, dryRun: flag }),
  plan: shape({ files: count, bytes: count, entries: count }),
  list: shape({ entries: list(shape({ path: text, type: types, size: count, mtimeMs: moment })) }),
  answers: shape({
    answers: list(shape({ is: oneOf('new', 'replaced', 'there', 'refused'), sha256, why: text, marks })),
  }),
  sums: shape({
    files: list(
      shape({ path: text, is: oneOf('sent', 'kept', 'changed'), size: count, from: count, sha256 }),
    ),
  }),
  refused: shape({ entries: list(shape({ path: text, code, why: text })) }),
  end: shape({ files: count, bytes: count, sha256 }),
  done: shape({
    target: text,
    files: count,
    bytes: count,
    kept: count,
    directories: count,
    links: count,
    sha256,
  }),
  failed: shape({ code, what: text, why: text, fix: text }),
}

/** Reads a message of the other side, whom nobody trusts. Throws a RelayError. */
export function readMessage(bytes: Buffer): Message {
  const value = parsed(bytes)
  const is = (value as { is?: unknown } | null)?.is
  if (typeof is === 'string' && Object.hasOwn(messages, is) && messages[is as Message['is']](value)) {
    return value as Message
  }
  throw unintelligible('it said something that is no message of a copy')
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    throw unintelligible('it said something that is no JSON')
  }
}

/** The other side does not speak as a copy does. */
export function unintelligible(why: string): RelayError {
  const fix = 'Both sides of a copy have to be fleetcat, and of one version'
  return new RelayError('internal', { what: 'the other side of the copy', why, fix })
}

export function failure({ code, what, why, fix }: RelayError): Message {
  return { is: 'failed', code, what, why, fix }
}
