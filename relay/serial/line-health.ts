import type { LineCounters } from './port.ts'

export interface LineHealthOptions {
  /** What the device counts of errors; undefined: nothing. */
  readonly counters: () => Promise<LineCounters | undefined>
  /** Told, once, of what looks as if the two ends were set differently. Must not throw. */
  readonly suspected: (text: string) => void
}

/** Looks whether what comes from a line can be what its device has said. */
export interface LineHealth extends Disposable {
  take(bytes: Buffer): void
  /** The line is another now, or set otherwise: what came before says nothing of it. */
  begin(): void
}

/** Of fewer bytes nothing can be said. */
const leastBytes = 64
/** Of each piece: what is said quickly is much of the same. */
const mostOfPiece = 256
const oddShare = 0.3
const errorShare = 0.1
/** How long after bytes have come the device is asked what it has counted. */
const askMs = 300

/** A piece of text has these, and no other control characters. */
const usual: ReadonlySet<number> = new Set([7, 8, 9, 10, 11, 12, 13, 27])

/** A line that is read at another speed than it is written gives framing errors, and bytes that are no text. */
export function lineHealth({ counters, suspected }: LineHealthOptions): LineHealth {
  let seen = 0
  let odd = 0
  /** Bytes since the device was asked the last time. */
  let fresh = 0
  let isSaid = false
  let before: LineCounters | undefined
  let timer: NodeJS.Timeout | undefined
  /** Answers that come for how the line was before are for nobody. */
  let turn = 0

  const say = (text: string) => {
    if (isSaid) return
    isSaid = true
    suspected(`${text}: is the line set as its device is?`)
  }
  const ask = async (now: number) => {
    const counts = await counters().catch(() => undefined)
    if (now !== turn || !counts) return
    const [last, bytes] = [before, fresh]
    before = counts
    fresh = 0
    if (!last) return
    const errors = counts.frame - last.frame + counts.parity - last.parity
    const isMuch = errors > 3 && errors > bytes * errorShare
    if (isMuch) say(`${errors} framing or parity errors in the last ${bytes} bytes`)
  }
  const askSoon = () => {
    const now = turn
    timer ??= setTimeout(() => {
      timer = undefined
      void ask(now)
    }, askMs)
    timer.unref()
  }

  return {
    take(bytes) {
      if (isSaid) return
      fresh += bytes.length
      if (before) askSoon()
      const some = bytes.subarray(0, mostOfPiece)
      seen += some.length
      odd += oddBytes(some)
      if (seen >= leastBytes && odd > seen * oddShare) say('most of what comes is no text')
      if (seen < leastBytes * 16) return
      seen /= 2
      odd /= 2
    },
    begin() {
      turn++
      isSaid = false
      seen = 0
      odd = 0
      fresh = 0
      before = undefined
      void ask(turn)
    },
    [Symbol.dispose]() {
      turn++
      isSaid = true
      clearTimeout(timer)
    },
  }
}

/** How many of these are in no text, be it ASCII or UTF-8. */
function oddBytes(bytes: Buffer): number {
  let count = 0
  /** Bytes of a character that are still to come. At the beginning of a piece nobody knows. */
  let due = 3
  let isKnown = false
  for (const byte of bytes) {
    if ((byte & 0xc0) === 0x80) {
      if (due > 0) due--
      else count++
      continue
    }
    if (isKnown && due > 0) count++
    isKnown = true
    due = 0
    if (byte >= 0xc2 && byte <= 0xf4) due = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1
    else if (byte >= 0x7f || (byte < 0x20 && !usual.has(byte))) count++
  }
  return count
}
