/** How long nobody looks at most: timers sleep when the host does, and a wall clock may be set at any time. */
const lookMs = 1_000

/** Calls `look` at least each second, and when the milliseconds that `next` has told are over. */
export function openTicker(look: () => void, next: () => number): Disposable {
  let timer: NodeJS.Timeout
  const arm = () => {
    timer = setTimeout(tick, Math.max(1, Math.ceil(Math.min(lookMs, next()))))
  }
  const tick = () => {
    look()
    arm()
  }
  arm()
  return { [Symbol.dispose]: () => clearTimeout(timer) }
}
