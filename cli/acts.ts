import type { OperatorServiceService } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'

/** A controller names the call that it refuses; a person asked for something else. */
const words: Record<keyof OperatorServiceService, string> = {
  getStatus: 'asking for the status',
  whoAmI: 'asking who you are',
  renewCertificate: 'renewing your certificate',
  watchDump: 'looking at what passes through a relay',
  probe: 'having agents probe a target',
  openTunnel: 'opening a tunnel',
  createRelay: 'creating a relay',
  applyRelays: 'applying relays',
  listRelays: 'listing relays',
  watchRelays: 'watching relays',
  listAgents: 'listing agents',
  watchAgents: 'watching agents',
  listConnections: 'listing connections',
  watchConnections: 'watching connections',
  revoke: 'revoking',
  lift: 'lifting a revocation',
  watchRevocation: 'following a revocation',
  listRevocations: 'listing revocations',
  createToken: 'making a token',
  listTokens: 'listing tokens',
  revokeToken: 'revoking a token',
  readAudit: 'reading the audit log',
}

const isCall = (word: string): word is keyof typeof words => Object.hasOwn(words, word)

/** The same error without the names of calls. */
export function inWords(error: RelayError): RelayError {
  const what = error.what.replace(/\b[a-z]+[A-Z]\w*$|^(revoke|lift)$/, call =>
    isCall(call) ? words[call] : call,
  )
  if (what === error.what) return error
  return new RelayError(error.code, { what, why: error.why, fix: error.fix, cause: error })
}
