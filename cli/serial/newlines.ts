/** What stands for the end of a line. */
export const lineEnds = { cr: '\r', lf: '\n', crlf: '\r\n' } as const
export type LineEnd = keyof typeof lineEnds

const cr = 0x0d
const lf = 0x0a

/** What Enter sends: in raw mode a terminal says CR for it. */
export function enterAs(end: LineEnd): (bytes: Buffer) => Buffer {
  if (end === 'cr') return bytes => bytes
  return bytes => Buffer.from(bytes.toString('latin1').replaceAll('\r', lineEnds[end]), 'latin1')
}

/** What ends a line of the device, for a terminal that goes to the next line for LF and to its beginning for CR. */
export const shownEnds = ['as-is', 'lf', 'cr'] as const
export type ShownEnd = (typeof shownEnds)[number]

/** `lf`: the device ends lines with LF alone; `cr`: with CR alone. What has both already stays as it is. */
export function showEnds(end: ShownEnd): (bytes: Buffer) => Buffer {
  if (end === 'as-is') return bytes => bytes
  let before = 0
  return bytes => {
    const shown: number[] = []
    for (const byte of bytes) {
      if (end === 'lf' && byte === lf && before !== cr) shown.push(cr)
      // Its LF may be still to come, and then must not be a second one.
      if (end === 'cr' && byte === lf && before === cr) {
        before = byte
        continue
      }
      shown.push(byte)
      if (end === 'cr' && byte === cr) shown.push(lf)
      before = byte
    }
    return Buffer.from(shown)
  }
}
