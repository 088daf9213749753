import type { ErrorCode } from '#relay/errors.ts'

/** What a script reads. These never change their meaning. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  denied: 3,
  notFound: 4,
  conflict: 5,
  partial: 6,
  timedOut: 7,
  interrupted: 130,
} as const

const byCode: Record<ErrorCode, number> = {
  usage: exitCodes.usage,
  denied: exitCodes.denied,
  unauthenticated: exitCodes.denied,
  revoked: exitCodes.denied,
  'not-found': exitCodes.notFound,
  conflict: exitCodes.conflict,
  'timed-out': exitCodes.timedOut,
  unsupported: exitCodes.usage,
  unresolved: exitCodes.failed,
  refused: exitCodes.failed,
  reset: exitCodes.failed,
  unreachable: exitCodes.failed,
  'address-in-use': exitCodes.conflict,
  exhausted: exitCodes.failed,
  expired: exitCodes.failed,
  lapsed: exitCodes.failed,
  'out-of-hours': exitCodes.failed,
  closed: exitCodes.failed,
  unavailable: exitCodes.failed,
  'unknown-outcome': exitCodes.failed,
  internal: exitCodes.failed,
}

export const exitCodeOf = (code: ErrorCode): number => byCode[code]
