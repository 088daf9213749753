/** How much those may cause who ask as often as they like: many at once, and few for ever. */
const mostAtOnce = 1_000
const everyMs = 1_000

export interface Budget {
  /** Nothing when it is spent; otherwise how many came to nothing since the last that did not. */
  take(): number | undefined
}

export function openBudget(clock = () => performance.now()): Budget {
  let left = mostAtOnce
  let filledAt = clock()
  let missed = 0
  return {
    take() {
      const grown = Math.floor((clock() - filledAt) / everyMs)
      filledAt += grown * everyMs
      left = Math.min(mostAtOnce, left + grown)
      if (left === 0) {
        missed++
        return undefined
      }
      left--
      const before = missed
      missed = 0
      return before
    },
  }
}
