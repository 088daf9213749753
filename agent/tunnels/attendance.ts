import type { Endpoint, OpenContext } from '#relay/endpoint.ts'

/** What a target does with nobody there, which begins with the first who comes: he hears why if it cannot. */
export interface Attendance extends AsyncDisposable {
  /** Resolves when it has begun. Rejects with a RelayError, and may be tried again then. */
  begin(cx: OpenContext): Promise<void>
  /** Until somebody comes again. */
  stop(): Promise<void>
}

export function openAttendance(endpoint: Endpoint): Attendance {
  let begun: Promise<AsyncDisposable> | undefined

  const start = async (cx: OpenContext): Promise<AsyncDisposable> => {
    await using starting = new AsyncDisposableStack()
    for (const { attend } of endpoint.halves ?? [endpoint]) if (attend) starting.use(await attend(cx))
    return starting.move()
  }
  const stop = async () => {
    const ending = begun
    begun = undefined
    const attended = await ending?.catch(() => undefined)
    await attended?.[Symbol.asyncDispose]()
  }

  return {
    async begin(cx) {
      begun ??= start(cx)
      const mine = begun
      try {
        await mine
      } catch (thrown) {
        if (begun === mine) begun = undefined
        throw thrown
      }
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}
