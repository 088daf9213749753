/** Eight digits and a space, counting on: no telnet, terminal or flow control means anything by them. */
const wordBytes = 9
const words = 65_536
/** The pattern begins anew after so many bytes. */
const period = words * wordBytes
/** So much of it may be asked for at a time. */
export const longestPiece = 256 * 1_024

const whole = Buffer.allocUnsafe(period + longestPiece)
for (let at = 0; at < whole.length; at += wordBytes) {
  const word = `${String((at / wordBytes) % words).padStart(8, '0')} `
  whole.write(word.slice(0, whole.length - at), at, 'latin1')
}

/** What is at a place of the pattern. The bytes are everybody's. */
export function patternAt(at: number, length: number): Buffer {
  const from = at % period
  return whole.subarray(from, from + length)
}

/** What has come of a pattern. */
export interface Followed {
  readonly bytes: number
  /** Places where it did not go on as it should have. */
  readonly breaks: number
}

/** The same, and from the first of it to the last. */
export interface Heard extends Followed {
  readonly seconds: number
}

/** Bytes that are not in it: that a line leads where it should, and that a conversation is over. */
export const mark = 0x7e
export const over = 0x04

/** Reads a pattern from its beginning, and finds back into it behind what is missing. */
export function followPattern(): Followed & { take(chunk: Buffer): void } {
  let at = 0
  let isAstray = false
  const goOn = (chunk: Buffer) => {
    if (chunk.length > 0 && !isAstray) {
      const same = sameFor(chunk, at)
      at += same
      if (same === chunk.length) return
      followed.breaks++
      isAstray = true
      chunk = chunk.subarray(same)
    }
    const found = /(?<= )\d{8}(?= )/.exec(chunk.toString('latin1'))
    if (!found) return
    isAstray = false
    at = Number(found[0]) * wordBytes
    goOn(chunk.subarray(found.index))
  }
  const followed = {
    bytes: 0,
    breaks: 0,
    take(chunk: Buffer) {
      followed.bytes += chunk.length
      for (let from = 0; from < chunk.length; from += longestPiece) {
        goOn(chunk.subarray(from, from + longestPiece))
      }
    },
  }
  return followed
}

function sameFor(chunk: Buffer, at: number): number {
  const wanted = patternAt(at, chunk.length)
  if (chunk.equals(wanted)) return chunk.length
  return chunk.findIndex((byte, index) => byte !== wanted[index])
}
