import type { Duplex } from 'node:stream'

/** How long a line may be silent, after the other side has ended, before it counts as ended too. */
export const defaultEndAfterMs = 1_000

/** Ends the reading of a stream when its writing has ended and nothing has come for a while. */
export function endWhenQuiet(
  stream: Duplex,
  afterMs: number,
): { begin(): void; heard(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined
  let heardAt: number | undefined
  const look = () => {
    const leftMs = heardAt! + afterMs - performance.now()
    if (leftMs > 0) timer = setTimeout(look, Math.ceil(leftMs))
    else if (!stream.destroyed && !stream.readableEnded) stream.push(null)
  }
  return {
    begin() {
      heardAt = performance.now()
      look()
    },
    heard() {
      // Before that nobody asks, and lines speak often.
      if (heardAt !== undefined) heardAt = performance.now()
    },
    stop: () => clearTimeout(timer),
  }
}
