import { setTimeout as sleep } from 'node:timers/promises'

/** Pauses for devices that are slower than their line: they have no buffer, and no flow control. */
export interface Pacing {
  /** After each byte. */
  readonly charMs?: number | undefined
  /** After the end of each line. */
  readonly lineMs?: number | undefined
}

const newline = 0x0a
const carriageReturn = 0x0d

/** Writes the bytes in parts with pauses between them. `write` answers whether the rest is still wanted. */
export async function writePaced(
  bytes: Buffer,
  { charMs = 0, lineMs = 0 }: Pacing,
  write: (part: Buffer) => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  if (charMs === 0 && lineMs === 0) {
    await write(bytes)
    return
  }
  for (let from = 0; from < bytes.length; ) {
    const to = charMs > 0 ? from + 1 : lineEnd(bytes, from)
    const wanted = await write(bytes.subarray(from, to))
    const pauseMs = charMs + (endsLine(bytes, to) ? lineMs : 0)
    from = to
    if (!wanted || signal.aborted) return
    if (pauseMs > 0) await sleep(pauseMs, undefined, { signal }).catch(() => {})
  }
}

function lineEnd(bytes: Buffer, from: number): number {
  for (let at = from; at < bytes.length; at++) if (endsLine(bytes, at + 1)) return at + 1
  return bytes.length
}

/** CR and NL together are one end. */
function endsLine(bytes: Buffer, to: number): boolean {
  const last = bytes[to - 1]
  return last === newline || (last === carriageReturn && bytes[to] !== newline)
}
