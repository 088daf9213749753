import { IdentityError, type IdentityErrorCode } from '#identity/errors.ts'
import { type ErrorCode, RelayError } from '#relay/errors.ts'
import { fromStatus, isServiceError } from './status.ts'

const codes: Record<IdentityErrorCode, ErrorCode> = {
  invalid: 'usage',
  untrusted: 'denied',
  expired: 'unauthenticated',
  'not-yet-valid': 'unauthenticated',
  corrupt: 'internal',
}

/** Whatever was thrown, by identity/, by gRPC or by the system, as the one error; its words stay as they are. */
export function failureOf(thrown: unknown, what: string): RelayError {
  if (thrown instanceof IdentityError) {
    const { code, what: act, why, fix } = thrown
    return new RelayError(codes[code], { what: act, why, fix, cause: thrown })
  }
  return isServiceError(thrown) ? fromStatus(thrown, what) : RelayError.from(thrown, what)
}
