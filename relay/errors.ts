import { type TlsCause, tlsCause } from './tls-causes.ts'

/**
 * The one error of fleetcat. Every failure that a person may read has a code from this closed list and three
 * parts: what failed, why, and what to do about it.
 */
export const errorCodes = [
  'usage', // the words of a command, an address or a file are wrong
  'denied', // a rule, a role or the ceiling says no
  'unauthenticated', // nobody we know: no certificate, an expired or a foreign one
  'not-found',
  'conflict', // it exists already, or somebody changed it in between
  'unsupported', // asked for in good faith, but this build or this platform cannot
  'unresolved', // a name has no address
  'refused', // the far side said no to the connection
  'reset', // the far side cut it
  'unreachable', // no route, or nobody there
  'timed-out',
  'address-in-use',
  'exhausted', // descriptors, disk, memory, or a cap of ours
  'revoked', // an operator took it back
  'expired',
  'lapsed', // no lease: the host has been cut off for too long
  'out-of-hours', // its access window is closed
  'closed', // ended on purpose: a stop, a drain, an idle or lifetime limit
  'unavailable', // the controller cannot be reached or is not ready
  'unknown-outcome', // it may or may not have happened: look again before repeating
  'internal',
] as const

export type ErrorCode = (typeof errorCodes)[number]

export interface ErrorParts {
  /** What failed: the thing and the act, e.g. `relay/web on edge-1 rejected`. */
  readonly what: string
  /** Why, e.g. `127.0.0.1:8080 is in use by another program`. */
  readonly why?: string | undefined
  /** What to do about it, as a sentence or a command. */
  readonly fix?: string | undefined
  readonly cause?: unknown
}

export class RelayError extends Error {
  override readonly name = 'RelayError'
  readonly code: ErrorCode
  readonly what: string
  readonly why: string
  readonly fix: string

  constructor(code: ErrorCode, parts: ErrorParts) {
    super(sentence(parts), parts.cause === undefined ? undefined : { cause: parts.cause })
    this.code = code
    this.what = parts.what
    this.why = parts.why ?? ''
    this.fix = parts.fix ?? ''
  }

  /**
   * Makes a RelayError of anything that was thrown. A RelayError passes through unchanged; a system error is
   * translated by its errno, one of TLS by its code, here and nowhere else; `what` names the act that failed.
   */
  static from(thrown: unknown, what: string): RelayError {
    if (thrown instanceof RelayError) return thrown
    const errno = codeOf(thrown)
    const known = errno === undefined ? undefined : (byErrno[errno] ?? tlsCause(errno))
    if (known) return new RelayError(known.code, { what, why: known.why, fix: known.fix, cause: thrown })
    const why = thrown instanceof Error ? thrown.message : String(thrown)
    return new RelayError('internal', { what, why, cause: thrown })
  }

  /** The same error, seen from further out: `what` is replaced, code, reason and advice stay. */
  within(what: string): RelayError {
    return new RelayError(this.code, { what, why: this.why || this.what, fix: this.fix, cause: this })
  }
}

function sentence({ what, why, fix }: ErrorParts): string {
  const because = why ? `${what}: ${why}` : what
  return fix ? `${because}. ${fix}` : because
}

/** An errno, a code of Node's, or the name of what an aborted signal throws, whose code is a number. */
function codeOf(thrown: unknown): string | undefined {
  if (thrown instanceof DOMException) return thrown.name
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' ? thrown.code : undefined
}

const byErrno: Record<string, TlsCause> = {
  EACCES: { code: 'denied', why: 'the operating system denies access (EACCES)' },
  EPERM: { code: 'denied', why: 'the operating system does not permit it (EPERM)' },
  EROFS: { code: 'denied', why: 'the file system is read-only (EROFS)' },
  EADDRINUSE: {
    code: 'address-in-use',
    why: 'the address is in use by another socket (EADDRINUSE)',
    fix: 'Stop what listens there, or choose another port',
  },
  EADDRNOTAVAIL: {
    code: 'unreachable',
    why: 'this host has no such address (EADDRNOTAVAIL)',
    fix: 'Use an address of this host; `ip addr` lists them',
  },
  ECONNREFUSED: { code: 'refused', why: 'nothing listens there (connection refused)' },
  ECONNRESET: { code: 'reset', why: 'the far side reset the connection' },
  EPIPE: { code: 'reset', why: 'the far side no longer reads (EPIPE)' },
  ECONNABORTED: { code: 'reset', why: 'the connection was aborted' },
  EHOSTUNREACH: { code: 'unreachable', why: 'no route to the host (EHOSTUNREACH)' },
  ENETUNREACH: { code: 'unreachable', why: 'no route to the network (ENETUNREACH)' },
  EHOSTDOWN: { code: 'unreachable', why: 'the host is down (EHOSTDOWN)' },
  ETIMEDOUT: { code: 'timed-out', why: 'no answer in time' },
  ENOTFOUND: { code: 'unresolved', why: 'the name has no address (ENOTFOUND)' },
  EAI_AGAIN: { code: 'unresolved', why: 'the resolver gave no answer (EAI_AGAIN)' },
  EMFILE: {
    code: 'exhausted',
    why: 'this process has no free file descriptors (EMFILE)',
    fix: 'Raise `ulimit -n`',
  },
  ENFILE: { code: 'exhausted', why: 'this host has no free file descriptors (ENFILE)' },
  ENOSPC: { code: 'exhausted', why: 'the disk is full (ENOSPC)', fix: 'Free some space' },
  EDQUOT: { code: 'exhausted', why: 'the disk quota is used up (EDQUOT)' },
  ENOMEM: { code: 'exhausted', why: 'no memory (ENOMEM)' },
  ENOENT: { code: 'not-found', why: 'no such file or directory (ENOENT)' },
  EISDIR: { code: 'usage', why: 'it is a directory (EISDIR)' },
  ENOTDIR: { code: 'usage', why: 'a part of the path is not a directory (ENOTDIR)' },
  EEXIST: { code: 'conflict', why: 'it exists already (EEXIST)' },
  TimeoutError: { code: 'timed-out', why: 'no answer in time' },
  AbortError: { code: 'closed', why: 'it was cancelled' },
  ABORT_ERR: { code: 'closed', why: 'it was cancelled' },
}
