import type forge from 'node-forge'
// The one part that is needed: the whole of node-forge would cost every command 15 ms.
import asn1 from 'node-forge/lib/asn1.js'

const { Class, Type } = asn1

export type Node = forge.asn1.Asn1

/** The published types know only the first of these options. */
const fromDer = asn1.fromDer as unknown as (
  bytes: string,
  options: { strict: boolean; parseAllBytes: boolean; decodeBitStrings: boolean },
) => Node

/** Tag numbers inside the context class mean what their place in the structure says. */
export const context = Class.CONTEXT_SPECIFIC
export const universal = Class.UNIVERSAL
export { Type as tag }

export const sequence = (...parts: Node[]) => asn1.create(universal, Type.SEQUENCE, true, parts)
export const set = (...parts: Node[]) => asn1.create(universal, Type.SET, true, parts)
export const boolean = (value: boolean) => primitive(Type.BOOLEAN, Buffer.from([value ? 0xff : 0]))
export const integer = (bytes: Buffer) => primitive(Type.INTEGER, bytes)
export const octets = (bytes: Buffer) => primitive(Type.OCTETSTRING, bytes)
export const nothing = () => primitive(Type.NULL, Buffer.alloc(0))
export const utf8 = (text: string) => primitive(Type.UTF8, Buffer.from(text, 'utf8'))
export const oid = (dotted: string) =>
  asn1.create(universal, Type.OID, false, asn1.oidToDer(dotted).getBytes())

/** A string of bits; `unused` counts the low bits of the last byte that do not belong to it. */
export const bits = (bytes: Buffer, unused = 0) =>
  primitive(Type.BITSTRING, Buffer.concat([Buffer.from([unused]), bytes]))

export const tagged = (number: number, parts: Node[]) => asn1.create(context, number, true, parts)
export const taggedBytes = (number: number, bytes: Buffer) =>
  asn1.create(context, number, false, bytes.toString('latin1'))

/** RFC 5280 wants the two-digit year up to 2049 and the four-digit year after it. */
export function time(date: Date): Node {
  return date.getUTCFullYear() < 2050
    ? asn1.create(universal, Type.UTCTIME, false, asn1.dateToUtcTime(date) as string)
    : asn1.create(universal, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date) as string)
}

export function encode(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1')
}

/**
 * Reads exactly one DER value. What does not come out byte for byte when it is written again is refused, so that the
 * bytes that were signed and the structure that is read cannot differ. Throws a plain Error; callers say what it was.
 */
export function decode(bytes: Buffer): Node {
  const node = fromDer(bytes.toString('latin1'), {
    strict: true,
    parseAllBytes: true,
    decodeBitStrings: false,
  })
  if (!encode(node).equals(bytes)) throw new Error('the encoding is not DER')
  return node
}

export function isA(node: Node | undefined, tagClass: forge.asn1.Class, type: number): node is Node {
  return node?.tagClass === tagClass && (node.type as number) === type
}

/** The parts of a constructed value; none for anything else. */
export function partsOf(node: Node | undefined): readonly Node[] {
  return node !== undefined && Array.isArray(node.value) ? node.value : []
}

/** The content of a primitive value; none for anything else. */
export function contentOf(node: Node | undefined): Buffer | undefined {
  return node !== undefined && typeof node.value === 'string' ? Buffer.from(node.value, 'latin1') : undefined
}

/** The dotted form of an object identifier; none for anything else. */
export function oidOf(node: Node | undefined): string | undefined {
  return isA(node, universal, Type.OID) ? asn1.derToOid(node.value as string) : undefined
}

function primitive(type: forge.asn1.Type, bytes: Buffer): Node {
  return asn1.create(universal, type, false, bytes.toString('latin1'))
}
