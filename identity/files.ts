import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { IdentityError } from './errors.ts'
import { keyFromPem } from './keys.ts'
import { clusterOf, type Identity, identityOf } from './name.ts'
import { readPem, writePem } from './pem.ts'
import { readPrivateFile, writePrivateFile } from './private-file.ts'

/** What a host or a person holds to prove who they are, as PEM texts, and what they noted beside it. */
export interface StoredIdentity {
  readonly key: string
  /** The leaf alone, without its authority. */
  readonly cert: string
  readonly ca: string
  /** Where its controllers are and the like. No secrets. */
  readonly details: Readonly<Record<string, string | readonly string[]>>
}

export interface LoadedIdentity extends StoredIdentity {
  readonly certificate: X509Certificate
  readonly identity: Identity
}

/**
 * One file for all of it, because a key and a certificate in two files cannot be renewed in one step. It is PEM
 * throughout, so that `openssl x509 -in` and `curl --cert` read it too; they skip the last block.
 */
export const identityFileName = 'identity.pem'
const detailsLabel = 'FLEETCAT DETAILS'
const labels = ['PRIVATE KEY', 'CERTIFICATE', 'CERTIFICATE', detailsLabel]

/** Saves an identity over the one that is there, whole or not at all. Refuses parts that do not belong together. */
export async function saveIdentity(directory: string, identity: StoredIdentity): Promise<void> {
  const { key, cert, ca, details } = identity
  const trimmed = [key, cert, ca].map(text => `${text.trim()}\n`).join('')
  const text = trimmed + writePem(detailsLabel, Buffer.from(JSON.stringify(details)))
  try {
    readIdentity(text)
  } catch (cause) {
    throw new IdentityError('invalid', { what: 'identity not saved', why: reasonOf(cause), cause })
  }
  await writePrivateFile(join(directory, identityFileName), text, 'replace')
}

/** The identity that a directory holds, or undefined when it holds none. It may be expired: that is for the caller. */
export async function loadIdentity(directory: string): Promise<LoadedIdentity | undefined> {
  const path = join(directory, identityFileName)
  const text = await readPrivateFile(path)
  if (text === undefined) return undefined
  try {
    return readIdentity(text)
  } catch (cause) {
    throw new IdentityError('corrupt', {
      what: `${path} refused`,
      why: reasonOf(cause),
      fix: 'Restore this file from a backup, or remove it and join again with a new token',
      cause,
    })
  }
}

function readIdentity(text: string): LoadedIdentity {
  const blocks = readPem(text)
  if (blocks === undefined || blocks.map(block => block.label).join() !== labels.join()) {
    throw new Error('it is damaged or cut short')
  }
  const [keyBlock, leafBlock, caBlock, detailsBlock] = blocks
  const key = keyFromPem(writePem('PRIVATE KEY', keyBlock!.bytes))
  const certificate = new X509Certificate(leafBlock!.bytes)
  const authority = new X509Certificate(caBlock!.bytes)
  if (!certificate.checkPrivateKey(key)) throw new Error('its key and its certificate do not belong together')
  if (!authority.ca || !certificate.checkIssued(authority) || !certificate.verify(authority.publicKey)) {
    throw new Error('its certificate is not signed by its authority')
  }
  const identity = identityOf(certificate)
  if (identity.cluster !== clusterOf(authority)) throw new Error('its certificate is of another cluster')
  return {
    key: writePem('PRIVATE KEY', keyBlock!.bytes),
    cert: certificate.toString(),
    ca: authority.toString(),
    details: readDetails(detailsBlock!.bytes),
    certificate,
    identity,
  }
}

function readDetails(bytes: Buffer): StoredIdentity['details'] {
  const details: unknown = JSON.parse(bytes.toString('utf8'))
  const isText = (value: unknown) => typeof value === 'string'
  if (typeof details !== 'object' || details === null || Array.isArray(details))
    throw new Error('its details are damaged')
  for (const value of Object.values(details)) {
    if (!isText(value) && !(Array.isArray(value) && value.every(isText)))
      throw new Error('its details are damaged')
  }
  return details as StoredIdentity['details']
}

const reasonOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown))
