import type { Problem } from '#gen/fleetcat/v1/relay.ts'
import { type ErrorCode, errorCodes, RelayError } from '#relay/errors.ts'

/** The error that crosses the wire, in a call's status and in an agent's report alike. */
export function toProblem({ code, what, why, fix }: RelayError): Problem {
  return { code, what: short(what), why: short(why), fix: short(fix) }
}

/** An error may quote what somebody sent, however long that was. */
function short(text: string): string {
  return text.length > 2_048 ? `${text.slice(0, 2_048)}…` : text
}

export function fromProblem({ code, what, why, fix }: Problem): RelayError {
  return new RelayError(known(code), { what, why, fix })
}

/** A newer controller may know more codes than we do; what it says in words is still good. */
function known(code: string): ErrorCode {
  return errorCodes.find(c => c === code) ?? 'internal'
}
