/**
 * Makes text that a peer chose safe for a log line or a terminal: control characters (C0, DEL, C1), format characters
 * (bidi, zero-width), line and paragraph separators, lone surrogates. JSON escapes only the first of these by itself;
 * the others can recolour, reorder or hide a line.
 */
const hostile = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

export function sanitise(text: string, limit = 512): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text
  return cut.replace(hostile, c => `\\u{${c.codePointAt(0)?.toString(16)}}`)
}
