/**
 * Waits until `look` gives something truthy, looking again and again: for conditions that nobody announces. What it
 * throws meanwhile counts as "not yet", and is told when the patience ends.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  patienceMs = 15_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + patienceMs
  let last: unknown
  for (;;) {
    try {
      last = await look()
      if (last) return last as NonNullable<T>
    } catch (thrown) {
      last = thrown
    }
    if (performance.now() > deadline)
      throw new Error(`still not so after ${patienceMs} ms: ${what}`, { cause: last })
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
