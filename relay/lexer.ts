/** A piece of an address with its quotes and backslashes solved, or what stands in the way. */
export type Token =
  | { readonly text: string; readonly end: number }
  | { readonly at: number; readonly why: string; readonly fix: string }

/**
 * What ends a piece, outside quotes and brackets. `!!` parts the two halves of a dual address, a space the words of a
 * command line.
 */
export type Stop = ':' | ',' | '=' | '!!' | ' '

const closers: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' }

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

/**
 * Reads one piece from `from` up to a stop, as socat does: a backslash takes the next character literally or makes
 * the control characters of C; quotes are dropped and make all inside literal; brackets are kept and do the same
 * for the stops, and keep the quotes inside them. One pass, so that hostile input costs no more than its length.
 */
export function readToken(source: string, from: number, stops: readonly Stop[]): Token {
  const open: {
    readonly closer: string
    readonly at: number
    readonly isQuote: boolean
    readonly isKept: boolean
  }[] = []
  let text = ''
  let at = from
  for (; at < source.length; at++) {
    const char = source[at]!
    const inner = open.at(-1)
    if (char === '\\') {
      const next = source[at + 1]
      if (next === undefined)
        return { at, why: 'nothing follows the backslash', fix: 'Write `\\\\` for a backslash' }
      if (next === '0')
        return { at, why: '`\\0` is not allowed', fix: 'Write `\\\\0` for a backslash and a zero' }
      text += escapes[next] ?? next
      at++
    } else if (inner?.closer === char) {
      if (inner.isKept) text += char
      open.pop()
    } else if (inner?.isQuote) {
      text += char
    } else if (char === "'" || char === '"') {
      const isKept = inner !== undefined
      if (isKept) text += char
      open.push({ closer: char, at, isQuote: true, isKept })
    } else if (closers[char] !== undefined) {
      text += char
      open.push({ closer: closers[char], at, isQuote: false, isKept: true })
    } else if (inner === undefined && stops.some(stop => source.startsWith(stop, at))) {
      return { text, end: at }
    } else {
      text += char
    }
  }
  const unclosed = open[0]
  if (unclosed === undefined) return { text, end: at }
  const opener = source[unclosed.at]!
  return {
    at: unclosed.at,
    why: `\`${opener}\` is never closed`,
    fix: `Close it with \`${unclosed.closer}\`, or write \`\\${opener}\` for the character itself`,
  }
}

/** Text that `readToken` reads back as `value`: bare where that works, in double quotes where not. */
export function writeToken(value: string): string {
  const bare = readToken(value, 0, [':', ',', '!!'])
  const isBare = 'text' in bare && bare.text === value && bare.end === value.length
  // A last `!` could join with a `!!` that follows, and a control character cannot stand in an address.
  if (isBare && !value.endsWith('!') && !controls.some(([, control]) => value.includes(control))) return value
  let escaped = ''
  for (const char of value) {
    const name = controls.find(([, control]) => control === char)?.[0]
    escaped += name !== undefined ? `\\${name}` : char === '"' || char === '\\' ? `\\${char}` : char
  }
  return `"${escaped}"`
}

const controls = Object.entries(escapes)
