/** `setTimeout` fires at once when it is asked to wait for longer than this, 24.8 days. */
export const longestTimerMs = 2_147_483_647

/** Calls `fire` after `ms`, however long that is; never, if it is Infinity. Returns what cancels it. */
export function startTimer(ms: number, fire: () => void): () => void {
  if (ms === Infinity) return () => {}
  let timer: NodeJS.Timeout
  const arm = (left: number) => {
    timer = setTimeout(
      () => (left > longestTimerMs ? arm(left - longestTimerMs) : fire()),
      Math.min(left, longestTimerMs),
    )
  }
  arm(ms)
  return () => clearTimeout(timer)
}
