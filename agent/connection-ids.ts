import { randomBytes } from 'node:crypto'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

/**
 * `c-` and six letters of this boot, then a counter: no id is ever used again, so that an order to cut one
 * connection can never meet another.
 */
export function connectionIds(): () => string {
  const boot = Array.from(randomBytes(6), byte => alphabet[byte % 32]).join('')
  let count = 0
  return () => `c-${boot}${(count++).toString(36)}`
}
