import { randomBytes } from 'node:crypto'

const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789'

/** A random id that is never reused and easily read aloud: 65 bits, no look-alike letters. */
export function newId(prefix: 'r' | 'v' | 't' | 'k'): string {
  return `${prefix}-${Array.from(randomBytes(13), byte => alphabet[byte % 32]).join('')}`
}
