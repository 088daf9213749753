import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { promisify } from 'node:util'
import { IdentityError } from './errors.ts'

/** A new private key. P-256, because every TLS stack, smart card and cloud KMS has it. */
export async function generateKey(): Promise<KeyObject> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  return privateKey
}

export const keyToPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

export function keyFromPem(pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    throw new IdentityError('corrupt', { what: 'private key refused', why: 'it cannot be read', cause })
  }
}

export const publicHalf = (key: KeyObject): KeyObject => (key.type === 'public' ? key : createPublicKey(key))

/** The public key as a certificate holds it. */
export const spkiOf = (key: KeyObject): Buffer => publicHalf(key).export({ type: 'spki', format: 'der' })

/** SHA-256 over the public key, in hex: the name of a key that outlives its certificates. */
export const fingerprintOf = (key: KeyObject): string =>
  createHash('sha256').update(spkiOf(key)).digest('hex')

/** Small ones have been broken, and large ones cost time to check. */
const commonExponent = 65537n
/** Only with the curve by name and the point in full: OpenSSL reads other spellings, and then trusts no chain with them. */
const curves = {
  prime256v1: { kind: 'P-256', spkiBytes: 91 },
  secp384r1: { kind: 'P-384', spkiBytes: 120 },
} as const
export const allowedKeys = 'P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits'

/** What kind of key it is if we accept such keys, else undefined. The bounds keep a hostile key cheap to check. */
export function kindOfKey(key: KeyObject): 'P-256' | 'P-384' | 'Ed25519' | 'RSA' | undefined {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'ec':
      return kindOfCurve(key, namedCurve)
    case 'ed25519':
      return 'Ed25519'
    case 'rsa':
      return modulusLength >= 2048 && modulusLength <= 8192 && publicExponent === commonExponent
        ? 'RSA'
        : undefined
    default:
      return undefined
  }
}

function kindOfCurve(key: KeyObject, namedCurve: string): 'P-256' | 'P-384' | undefined {
  if (namedCurve !== 'prime256v1' && namedCurve !== 'secp384r1') return undefined
  const { kind, spkiBytes } = curves[namedCurve]
  return spkiOf(key).length === spkiBytes ? kind : undefined
}

/** How a signature names its algorithm, and the digest that Node wants for it (none for Ed25519). */
export interface SignatureAlgorithm {
  readonly oid: string
  readonly digest: 'sha256' | 'sha384' | 'sha512' | null
  readonly parameters: 'null' | 'absent'
  readonly keys: readonly string[]
}

const ecdsa = (oid: string, digest: 'sha256' | 'sha384' | 'sha512'): SignatureAlgorithm => ({
  oid,
  digest,
  parameters: 'absent',
  keys: ['P-256', 'P-384'],
})
const rsa = (oid: string, digest: 'sha256' | 'sha384' | 'sha512'): SignatureAlgorithm => ({
  oid,
  digest,
  parameters: 'null',
  keys: ['RSA'],
})

/** Every signature that we accept. The first one that fits a key is the one that we make with it. */
export const signatureAlgorithms: readonly SignatureAlgorithm[] = [
  ecdsa('1.2.840.10045.4.3.2', 'sha256'),
  ecdsa('1.2.840.10045.4.3.3', 'sha384'),
  ecdsa('1.2.840.10045.4.3.4', 'sha512'),
  rsa('1.2.840.113549.1.1.11', 'sha256'),
  rsa('1.2.840.113549.1.1.12', 'sha384'),
  rsa('1.2.840.113549.1.1.13', 'sha512'),
  { oid: '1.3.101.112', digest: null, parameters: 'absent', keys: ['Ed25519'] },
]

export function algorithmFor(key: KeyObject): SignatureAlgorithm {
  const kind = kindOfKey(key)
  const found = signatureAlgorithms.find(one => kind !== undefined && one.keys.includes(kind))
  if (found) return found
  throw new IdentityError('invalid', {
    what: 'key refused',
    why: 'it is too weak or of a kind that is not accepted',
    fix: `Use ${allowedKeys}`,
  })
}

export function signWith(key: KeyObject, data: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(algorithmFor(key).digest, data, key, (error, signature) =>
      error ? reject(error) : resolve(signature),
    )
  })
}

/** False for anything but a good signature; never throws for bad bytes. */
export function signatureHolds(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  data: Buffer,
  signature: Buffer,
): boolean {
  try {
    return verify(algorithm.digest, data, key, signature)
  } catch {
    return false
  }
}
