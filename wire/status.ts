import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js'
import { Problem } from '#gen/fleetcat/v1/relay.ts'
import { type ErrorCode, RelayError } from '#relay/errors.ts'
import { fromProblem, toProblem } from './problem.ts'

const statusOf: Record<ErrorCode, status> = {
  usage: status.INVALID_ARGUMENT,
  denied: status.PERMISSION_DENIED,
  unauthenticated: status.UNAUTHENTICATED,
  'not-found': status.NOT_FOUND,
  conflict: status.ALREADY_EXISTS,
  unsupported: status.UNIMPLEMENTED,
  unresolved: status.FAILED_PRECONDITION,
  refused: status.FAILED_PRECONDITION,
  reset: status.FAILED_PRECONDITION,
  unreachable: status.FAILED_PRECONDITION,
  'timed-out': status.DEADLINE_EXCEEDED,
  'address-in-use': status.FAILED_PRECONDITION,
  exhausted: status.RESOURCE_EXHAUSTED,
  revoked: status.PERMISSION_DENIED,
  expired: status.FAILED_PRECONDITION,
  lapsed: status.FAILED_PRECONDITION,
  'out-of-hours': status.FAILED_PRECONDITION,
  closed: status.CANCELLED,
  unavailable: status.UNAVAILABLE,
  'unknown-outcome': status.UNKNOWN,
  internal: status.INTERNAL,
}

/** For a status that carries no problem of ours: made by gRPC itself, or by something between us. */
const codeOf: Partial<Record<status, ErrorCode>> = {
  [status.CANCELLED]: 'closed',
  [status.INVALID_ARGUMENT]: 'usage',
  [status.DEADLINE_EXCEEDED]: 'timed-out',
  [status.NOT_FOUND]: 'not-found',
  [status.ALREADY_EXISTS]: 'conflict',
  [status.PERMISSION_DENIED]: 'denied',
  [status.RESOURCE_EXHAUSTED]: 'exhausted',
  [status.UNIMPLEMENTED]: 'unsupported',
  [status.UNAVAILABLE]: 'unavailable',
  [status.UNAUTHENTICATED]: 'unauthenticated',
}

const problemKey = 'fleetcat-problem-bin'
/** A status travels in HTTP/2 headers, of which an end takes only so much. */
const longestDetails = 2_048

/** A RelayError as a gRPC status: the sentence for any client, the parts for ours. */
export function toStatus(error: RelayError): Partial<StatusObject> {
  const metadata = new Metadata()
  metadata.set(problemKey, Buffer.from(Problem.encode(toProblem(error)).finish()))
  return { code: statusOf[error.code], details: error.message.slice(0, longestDetails), metadata }
}

/** What a failed call meant. `what` names the act, for failures that gRPC itself reports. */
export function fromStatus(failure: ServiceError, what: string): RelayError {
  const carried = carriedProblem(failure)
  if (carried) return carried
  const code = codeOf[failure.code] ?? 'internal'
  if (code === 'unsupported') {
    return new RelayError(code, {
      what,
      why: 'the other side does not know this call',
      fix: 'Compare `fleetcat version` with `fleetcat status`: one of them is older',
      cause: failure,
    })
  }
  const why = plain(failure.details)
  if (/certificate (is not yet valid|has expired)/.test(why)) {
    return new RelayError('unauthenticated', {
      what,
      why: `the controller's ${why} by this host's clock, which says ${new Date().toISOString()}`,
      fix: 'Compare it with the clock of the controller: `date -u` on both hosts',
      cause: failure,
    })
  }
  return new RelayError(code, { what, why, cause: failure })
}

/** What answers may be no controller of ours; then its bytes say nothing to us. */
function carriedProblem(failure: ServiceError): RelayError | undefined {
  const bytes = failure.metadata?.get(problemKey)[0]
  if (!(bytes instanceof Buffer)) return undefined
  try {
    return fromProblem(Problem.decode(bytes))
  } catch {
    return undefined
  }
}

/** gRPC wraps the socket's own words in several layers of its own; a reader wants the innermost. */
function plain(details: string): string {
  const socket = /Last error: (?:Error: )?(.*?)(?:\. Resolution note:.*)?$/s.exec(details)?.[1] ?? details
  const refused = /connect ECONNREFUSED (\S+)/.exec(socket)
  if (refused) return `nothing listens at ${refused[1]}`
  return socket.replace(/^\d+ [A-Z_]+: /, '')
}

export function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number' && 'details' in thrown
}
