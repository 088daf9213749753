import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { IdentityError, quote } from './errors.ts'

/** Whom a token lets in. */
const joinKinds = ['agent', 'operator'] as const
export type JoinKind = (typeof joinKinds)[number]

/** All that somebody needs who has nothing yet: where to go, whom to believe there, and what to show. */
export interface JoinToken {
  readonly kind: JoinKind
  /** Controllers as `host:port`; IPv6 as `[address]:port`. */
  readonly addresses: readonly string[]
  /** SHA-256 of the authority's public key, in hex. */
  readonly pin: string
  /** Names the token in lists and logs; not secret. */
  readonly id: string
  readonly secret: Buffer
}

/** A new token. `text` is for whoever joins; the controller keeps no more than the hash of `secret`. */
export interface MintedToken {
  readonly text: string
  readonly secret: Buffer
}

const prefix = 'fcat1_'
const pinBytes = 32
const secretBytes = 32
const checksumBytes = 4
const idForm = /^[\w-]{1,64}$/
const maxAddresses = 16
const addressForm = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]):([1-9][0-9]{0,4})$/i

/**
 * The bytes are: the length of all (2), kind (1), pin, secret, id, the number of addresses (1), each address, and a
 * checksum; id and addresses have their length before them (1). The length of all tells a cut token from a changed one.
 */
export function mintToken(order: Omit<JoinToken, 'secret'>): MintedToken {
  const { kind, addresses, pin, id } = order
  if (!idForm.test(id)) throw notMinted('its id must be 1 to 64 letters, digits, "-" or "_"')
  if (!/^[0-9a-f]{64}$/.test(pin)) throw notMinted('the pin must be a SHA-256 in hex')
  if (addresses.length === 0 || addresses.length > maxAddresses) {
    throw notMinted(`it needs 1 to ${maxAddresses} addresses of the controller`)
  }
  const wrong = addresses.find(address => !isAddress(address))
  if (wrong !== undefined) throw notMinted(`${quote(wrong)} is not of the form host:port`)
  const secret = randomBytes(secretBytes)
  const body = Buffer.concat([
    Buffer.alloc(2),
    Buffer.from([joinKinds.indexOf(kind)]),
    Buffer.from(pin, 'hex'),
    secret,
    withLength(id),
    Buffer.from([addresses.length]),
    ...addresses.map(withLength),
  ])
  body.writeUInt16BE(body.length + checksumBytes)
  const text = prefix + Buffer.concat([body, checksum(body)]).toString('base64url')
  return { text, secret }
}

/** Reads a token back, white space around it aside. Throws `invalid` for one that was cut, changed or made by others. */
export function parseToken(text: string): JoinToken {
  const trimmed = text.trim()
  if (!trimmed.startsWith(prefix)) {
    throw refused(
      /^fcat\d+_/.test(trimmed) ? 'a newer or older fleetcat made it' : `it does not begin with ${prefix}`,
      'Use a token of a controller of this version',
    )
  }
  const encoded = trimmed.slice(prefix.length)
  const bytes = Buffer.from(encoded, 'base64url')
  if (!/^[\w-]*$/.test(encoded)) throw refused('it has characters that no token has')
  const length = bytes.length < 2 ? Number.POSITIVE_INFINITY : bytes.readUInt16BE()
  if (bytes.length < length) throw refused('it is cut short')
  const body = bytes.subarray(0, -checksumBytes)
  const whole = bytes.length === length && length > checksumBytes && bytes.toString('base64url') === encoded
  if (!whole || !checksum(body).equals(bytes.subarray(-checksumBytes))) {
    throw refused('it was changed on its way: the checksum does not fit')
  }
  return fieldsOf(body)
}

export const hashSecret = (secret: Uint8Array): string => createHash('sha256').update(secret).digest('hex')

/** Whether a secret is the one that was hashed; takes the same time whatever the difference. */
export function secretMatches(secret: Uint8Array, secretHash: string): boolean {
  const expected = Buffer.from(secretHash, 'hex')
  const actual = Buffer.from(hashSecret(secret), 'hex')
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}

function fieldsOf(body: Buffer): JoinToken {
  let at = 2
  const take = (count: number): Buffer => {
    if (at + count > body.length) throw refused('it makes no sense')
    at += count
    return body.subarray(at - count, at)
  }
  const kind = joinKinds[take(1).readUInt8()]
  const pin = take(pinBytes).toString('hex')
  const secret = Buffer.from(take(secretBytes))
  const id = take(take(1).readUInt8()).toString('latin1')
  const addresses: string[] = []
  for (let left = take(1).readUInt8(); left > 0; left--)
    addresses.push(take(take(1).readUInt8()).toString('latin1'))
  const sound =
    idForm.test(id) && addresses.length > 0 && addresses.length <= maxAddresses && addresses.every(isAddress)
  if (kind === undefined || !sound || at !== body.length) throw refused('it makes no sense')
  return { kind, addresses, pin, id, secret }
}

const withLength = (text: string): Buffer =>
  Buffer.from(`${String.fromCharCode(text.length)}${text}`, 'latin1')

function isAddress(address: string): boolean {
  const port = addressForm.exec(address)?.[1]
  return address.length <= 255 && port !== undefined && Number(port) <= 65535
}

/** Over the prefix too, so that a token of one version never passes for another's. */
const checksum = (body: Buffer): Buffer =>
  createHash('sha256').update(prefix).update(body).digest().subarray(0, checksumBytes)

function refused(why: string, fix = 'Copy the whole token again, in one piece'): IdentityError {
  return new IdentityError('invalid', { what: 'join token refused', why, fix })
}

const notMinted = (why: string) => new IdentityError('invalid', { what: 'join token not made', why })
