/**
 * What can be wrong with an identity, as a closed list. `invalid`: the words or the bytes are wrong; `untrusted`: they
 * are well-formed and not to be believed; `corrupt`: a file of ours is damaged.
 */
export type IdentityErrorCode = 'invalid' | 'untrusted' | 'expired' | 'not-yet-valid' | 'corrupt'

export interface IdentityErrorParts {
  /** What failed, e.g. `join token refused`. */
  readonly what: string
  /** Why, e.g. `it is cut short`. */
  readonly why: string
  /** What to do about it, as a sentence or a command. */
  readonly fix?: string | undefined
  readonly cause?: unknown
}

/** The one error of this folder. Its message never quotes a secret. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError'
  readonly code: IdentityErrorCode
  readonly what: string
  readonly why: string
  readonly fix: string

  constructor(code: IdentityErrorCode, { what, why, fix, cause }: IdentityErrorParts) {
    super(fix ? `${what}: ${why}. ${fix}` : `${what}: ${why}`, cause === undefined ? undefined : { cause })
    this.code = code
    this.what = what
    this.why = why
    this.fix = fix ?? ''
  }
}

/** Words of a stranger, made safe for a terminal and a log: nothing but printable ASCII, and not too much of it. */
export function quote(words: string): string {
  const text = JSON.stringify(words.length > 80 ? `${words.slice(0, 80)}…` : words)
  return text.replace(/[^ -~]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
