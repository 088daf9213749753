import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  bits,
  contentOf,
  decode,
  encode,
  integer,
  isA,
  type Node,
  nothing,
  oid,
  oidOf,
  partsOf,
  sequence,
  tag,
  tagged,
  universal,
} from './der.ts'
import { IdentityError } from './errors.ts'
import {
  algorithmFor,
  allowedKeys,
  kindOfKey,
  type SignatureAlgorithm,
  signatureAlgorithms,
  signatureHolds,
  signWith,
  spkiOf,
} from './keys.ts'
import { readPem } from './pem.ts'

/** Well above what the largest accepted key needs, and cheap to refuse. */
const maxBytes = 8 * 1024

/** A request for a certificate, as DER. It proves that whoever asks holds the key, and names nobody: the signer does. */
export async function createCsr(privateKey: KeyObject): Promise<Buffer> {
  const algorithm = algorithmFor(privateKey)
  const parameters = algorithm.parameters === 'null' ? [nothing()] : []
  const body = sequence(integer(Buffer.from([0])), sequence(), decode(spkiOf(privateKey)), tagged(0, []))
  const signature = await signWith(privateKey, encode(body))
  return encode(sequence(body, sequence(oid(algorithm.oid), ...parameters), bits(signature)))
}

/**
 * Takes the public key out of a request and nothing else: subject, names and extensions that it asks for are not even
 * read. Throws `invalid` unless the request is one whole, signed by the very key that it carries, and the key is strong.
 */
export function readCsr(request: string | Buffer): { publicKey: KeyObject } {
  if (Buffer.byteLength(request) > maxBytes) throw refused(`it is longer than ${maxBytes} bytes`)
  const [body, algorithmId, signature] = partsOfRequest(request)
  const publicKey = publicKeyOf(body)
  const kind = kindOfKey(publicKey)
  if (kind === undefined)
    throw refused('its key is too weak or of a kind that is not accepted', `Use ${allowedKeys}`)
  const algorithm = signatureAlgorithms.find(one => one.oid === oidOf(partsOf(algorithmId)[0]))
  if (algorithm === undefined || !algorithm.keys.includes(kind) || !parametersFit(algorithm, algorithmId)) {
    throw refused(
      `its signature is of a kind that is not accepted for a key of ${kind}`,
      'Sign it with SHA-256',
    )
  }
  const signed = contentOf(signature)
  if (
    signed === undefined ||
    signed[0] !== 0 ||
    !signatureHolds(algorithm, publicKey, encode(body), signed.subarray(1))
  ) {
    throw refused('whoever made it does not hold the key: the signature does not fit')
  }
  return { publicKey }
}

function partsOfRequest(request: string | Buffer): [Node, Node, Node] {
  let parts: readonly Node[] = []
  try {
    const root = decode(derOf(request))
    if (isA(root, universal, tag.SEQUENCE)) parts = partsOf(root)
  } catch (cause) {
    if (cause instanceof IdentityError) throw cause
    throw refused('it is damaged, or not a certificate request at all', undefined, cause)
  }
  const [body, algorithm, signature] = parts
  const whole =
    parts.length === 3 && isA(body, universal, tag.SEQUENCE) && isA(algorithm, universal, tag.SEQUENCE)
  if (!whole || !isA(signature, universal, tag.BITSTRING)) throw refused('it is not a certificate request')
  return [body, algorithm, signature]
}

function derOf(request: string | Buffer): Buffer {
  const text = typeof request === 'string' ? request : request.toString('latin1')
  if (!/^\s*-----BEGIN /.test(text)) {
    if (typeof request === 'string') throw refused('it is not a PEM block')
    return request
  }
  const [block, ...others] = readPem(text) ?? []
  if (block === undefined || others.length > 0 || !/^(NEW )?CERTIFICATE REQUEST$/.test(block.label)) {
    throw refused('it must be one whole PEM block CERTIFICATE REQUEST and nothing else')
  }
  return block.bytes
}

function publicKeyOf(body: Node): KeyObject {
  const [version, , spki, ...rest] = partsOf(body)
  if (!contentOf(version)?.equals(Buffer.from([0])) || spki === undefined || rest.length > 1) {
    throw refused('it is not a certificate request of version 1')
  }
  try {
    const publicKey = createPublicKey({ key: encode(spki), format: 'der', type: 'spki' })
    if (!spkiOf(publicKey).equals(encode(spki))) throw new Error('the key has more than one encoding')
    return publicKey
  } catch (cause) {
    throw refused('its public key cannot be read', `Use ${allowedKeys}`, cause)
  }
}

function parametersFit(algorithm: SignatureAlgorithm, id: Node): boolean {
  const [, parameters, ...rest] = partsOf(id)
  if (rest.length > 0) return false
  return algorithm.parameters === 'absent' ? parameters === undefined : isA(parameters, universal, tag.NULL)
}

function refused(why: string, fix?: string, cause?: unknown): IdentityError {
  return new IdentityError('invalid', { what: 'certificate request refused', why, fix, cause })
}
