import { RelayError } from '#relay/errors.ts'

export function checkKey(key: string): string {
  const fault = key === '' ? 'it is empty' : faultOf(key)
  if (fault) throw usage(`The key ${JSON.stringify(key)} is refused`, fault)
  return key
}

/** Unlike a key, a prefix may be empty: everything starts with it. */
export function checkPrefix(prefix: string): string {
  const fault = faultOf(prefix)
  if (fault) throw usage(`The prefix ${JSON.stringify(prefix)} is refused`, fault)
  return prefix
}

export function checkLimit(limit: number): number {
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw usage(`The limit ${limit} is refused`, 'it is not a whole number from 1 up')
  }
  return limit
}

/** The smallest string above every string that starts with `prefix`; none if there is no such string. */
export function endOfPrefix(prefix: string): string | undefined {
  const points = [...prefix].map(letter => letter.codePointAt(0)!)
  while (points.length > 0) {
    const last = points.pop()!
    if (last === 0x10ffff) continue
    // Surrogates are no characters, so what follows U+D7FF is U+E000.
    return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1)
  }
  return undefined
}

/** JavaScript compares UTF-16 units, which puts U+FFFD above an emoji; bytes of UTF-8 do not. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

export function usage(what: string, why: string): RelayError {
  return new RelayError('usage', { what, why })
}

function faultOf(text: string): string | undefined {
  if (text.includes('\0')) return 'it holds a NUL character'
  if (!text.isWellFormed()) return 'it holds half a surrogate pair, which has no bytes in UTF-8'
  return undefined
}
