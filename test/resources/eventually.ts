/** As `until`, for a condition that somebody has to be asked for. */
export async function eventually(condition: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${condition}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
