import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { type LoadedIdentity, loadIdentity } from '#identity/files.ts'
import { fingerprintOf } from '#identity/keys.ts'
import { parseToken } from '#identity/token.ts'
import { stateOf, timeText, validityOf, validityText } from '#identity/validity.ts'
import { RelayError } from '#relay/errors.ts'
import type { Logger } from '#telemetry/log.ts'
import { failureOf } from '#wire/failure.ts'
import { enrol } from './enrol.ts'

export interface IdentityOptions {
  readonly dataDir: string
  /** The text of a join token. */
  readonly join?: string
  readonly name?: string
  /** In place of the addresses that the token or the identity holds. */
  readonly controllers?: readonly string[]
  readonly log: Logger
}

export const identityDirectory = (dataDir: string) => join(dataDir, 'identity')

/**
 * The identity of this host: the one that is there, else a new one for the join token. The token may stay on the
 * command line for ever: it is looked at only when it is needed. Rejects with a RelayError that says what to run.
 */
export async function obtainIdentity(options: IdentityOptions): Promise<LoadedIdentity> {
  const directory = identityDirectory(options.dataDir)
  try {
    const present = await loadIdentity(directory)
    if (!present) return await joinFleet(options, directory)
    const { identity, certificate } = present
    checkBelongs(present, options)
    const state = stateOf(validityOf(certificate), new Date())
    if (state === 'valid') {
      if (options.join)
        options.log.info(
          { event: 'identity.present', agent: identity.name, cluster: identity.cluster },
          'joined already: the token is not used',
        )
      return present
    }
    if (state === 'not-yet-valid' || !options.join) throw unusable(present, options.dataDir)
    options.log.warn(
      { event: 'identity.expired', agent: identity.name },
      'the identity has expired: joining anew',
    )
    return await joinFleet(options, directory)
  } catch (thrown) {
    throw failureOf(thrown, `the identity in ${directory}`)
  }
}

/** Throws a RelayError when the certificate cannot be used now. */
export function checkUsable(identity: LoadedIdentity, dataDir: string): void {
  if (stateOf(validityOf(identity.certificate), new Date()) !== 'valid') throw unusable(identity, dataDir)
}

async function joinFleet(
  { join: text, dataDir, ...options }: IdentityOptions,
  directory: string,
): Promise<LoadedIdentity> {
  if (text) return enrol({ ...options, token: parseToken(text), directory })
  throw new RelayError('unauthenticated', {
    what: 'this host has not joined a fleet',
    why: `there is no identity in ${dataDir}`,
    fix: 'On a machine of an operator run `fleetcat token create agent`, and here `fleetcat agent --join TOKEN`',
  })
}

/** An identity of somebody else than was asked for is a mistake that must not run. */
function checkBelongs(
  { identity, ca }: LoadedIdentity,
  { name, join: text, dataDir }: IdentityOptions,
): void {
  const what = `the identity in ${identityDirectory(dataDir)}`
  const fix = 'Use another --data directory, or remove that one to join anew'
  if (identity.kind !== 'agent')
    throw new RelayError('conflict', {
      what,
      why: `it is of ${identity.kind} ${identity.name}, not of an agent`,
      fix,
    })
  if (name !== undefined && name !== identity.name)
    throw new RelayError('conflict', {
      what,
      why: `it is of agent ${identity.name}, and --name says ${name}`,
      fix,
    })
  if (text && parseToken(text).pin !== fingerprintOf(new X509Certificate(ca).publicKey))
    throw new RelayError('conflict', {
      what,
      why: `it is of the cluster ${identity.cluster}, and the token is of another one`,
      fix,
    })
}

function unusable({ identity, certificate }: LoadedIdentity, dataDir: string): RelayError {
  const validity = validityOf(certificate)
  const now = new Date()
  const early = stateOf(validity, now) === 'not-yet-valid'
  const anew =
    'If they agree, join anew: on a machine of an operator run ' +
    `\`fleetcat token create agent --name ${identity.name}\`, and here \`fleetcat agent --data ${dataDir} --join TOKEN\``
  return new RelayError('unauthenticated', {
    what: `the certificate of agent ${identity.name} is ${early ? 'not valid yet' : 'expired'}`,
    why: `this host's clock says ${timeText(now)}, and the controller made it valid ${validityText(validity)}`,
    fix: `Compare the clocks of both hosts (\`date -u\`). ${anew}`,
  })
}
