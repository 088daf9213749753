import { createHash, type KeyObject, randomBytes, X509Certificate } from 'node:crypto'
import { isIP, isIPv6 } from 'node:net'
import forge from 'node-forge'
import * as der from './der.ts'
import { algorithmFor, signWith, spkiOf } from './keys.ts'
import type { Validity } from './validity.ts'

/** One alternative name of a certificate's subject. */
export type AlternativeName = { readonly uri: string } | { readonly host: string }

/** All that a certificate says. `issuer` and `subject` are what X.509 calls them; nobody trusts these texts. */
export interface CertificateContent {
  readonly issuer: DistinguishedName
  readonly subject: DistinguishedName
  readonly publicKey: KeyObject
  readonly issuerPublicKey: KeyObject
  readonly validity: Validity
  readonly role: 'authority' | 'leaf'
  readonly names: readonly AlternativeName[]
  readonly usages: readonly ExtendedUsage[]
}

export interface DistinguishedName {
  readonly cluster: string
  readonly unit?: string
  readonly name: string
}

const extendedUsages = { serverAuth: '1.3.6.1.5.5.7.3.1', clientAuth: '1.3.6.1.5.5.7.3.2' }
export type ExtendedUsage = keyof typeof extendedUsages

const serialBytes = 16

/** The published types lack it. It does not know the dotted tail of `::ffff:1.2.3.4`. */
const { bytesFromIP } = forge.util as unknown as { bytesFromIP(address: string): string | null }

/** Encodes the content with node-forge and signs it with node:crypto, which node-forge cannot do for elliptic curves. */
export async function signCertificate(content: CertificateContent, key: KeyObject): Promise<X509Certificate> {
  const algorithm = der.sequence(der.oid(algorithmFor(key).oid))
  const body = der.sequence(
    der.tagged(0, [der.integer(Buffer.from([2]))]),
    der.integer(newSerial()),
    algorithm,
    distinguishedName(content.issuer),
    der.sequence(der.time(content.validity.notBefore), der.time(content.validity.notAfter)),
    distinguishedName(content.subject),
    der.decode(spkiOf(content.publicKey)),
    der.tagged(3, [der.sequence(...extensions(content))]),
  )
  const signature = await signWith(key, der.encode(body))
  return new X509Certificate(der.encode(der.sequence(body, algorithm, der.bits(signature))))
}

/** The top bit is set, so that the integer always takes its leading zero: positive, and of one length. */
function newSerial(): Buffer {
  const serial = randomBytes(serialBytes)
  serial.writeUInt8(serial.readUInt8() | 0x80)
  return Buffer.concat([Buffer.from([0]), serial])
}

function distinguishedName({ cluster, unit, name }: DistinguishedName): der.Node {
  const part = (type: string, text: string) => der.set(der.sequence(der.oid(type), der.utf8(text)))
  if (unit === undefined) return der.sequence(part('2.5.4.10', cluster), part('2.5.4.3', name))
  // Under `name` and not as the common name, which TLS clients take for a host's where no host is named.
  return der.sequence(part('2.5.4.10', cluster), part('2.5.4.11', unit), part('2.5.4.41', name))
}

function extensions(content: CertificateContent): der.Node[] {
  const { role, publicKey, issuerPublicKey, usages, names } = content
  const authority = role === 'authority'
  const limits = authority ? [der.boolean(true), der.integer(Buffer.from([0]))] : []
  // keyCertSign and cRLSign are bits 5 and 6, digitalSignature is bit 0, counted from the left.
  const keyUsage = authority
    ? der.bits(Buffer.from([0b0000_0110]), 1)
    : der.bits(Buffer.from([0b1000_0000]), 7)
  return [
    extension('2.5.29.19', der.sequence(...limits), 'critical'),
    extension('2.5.29.15', keyUsage, 'critical'),
    ...(usages.length === 0
      ? []
      : [extension('2.5.29.37', der.sequence(...usages.map(usage => der.oid(extendedUsages[usage]))))]),
    extension('2.5.29.17', der.sequence(...names.map(alternativeName))),
    extension('2.5.29.14', der.octets(keyIdentifier(publicKey))),
    extension('2.5.29.35', der.sequence(der.taggedBytes(0, keyIdentifier(issuerPublicKey)))),
  ]
}

function extension(id: string, value: der.Node, critical?: 'critical'): der.Node {
  return der.sequence(der.oid(id), ...(critical ? [der.boolean(true)] : []), der.octets(der.encode(value)))
}

function alternativeName(name: AlternativeName): der.Node {
  if ('uri' in name) return der.taggedBytes(6, Buffer.from(name.uri, 'latin1'))
  if (isIP(name.host) === 0) return der.taggedBytes(2, Buffer.from(name.host, 'latin1'))
  const bytes = bytesFromIP(
    isIPv6(name.host) ? new URL(`http://[${name.host}]`).hostname.slice(1, -1) : name.host,
  )
  if (bytes === null) throw new Error(`${name.host} cannot be encoded`)
  return der.taggedBytes(7, Buffer.from(bytes, 'latin1'))
}

/** Only a hint for finding the issuer, never proof: the first 20 bytes of a SHA-256, as RFC 7093 says. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  return createHash('sha256').update(spkiOf(publicKey)).digest().subarray(0, 20)
}
