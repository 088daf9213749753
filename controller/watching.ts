/**
 * One answer now, and another after each change: what every `-w` is made of. Changes that come in quick succession are
 * gathered for `pauseMs`, so that a busy fleet costs a watcher a few answers a second and no more.
 */
export async function* watching<T>(
  sources: readonly ((changed: () => void) => () => void)[],
  look: () => T,
  signal: AbortSignal,
  pauseMs = 200,
): AsyncGenerator<T> {
  let changed = false
  let wake: (() => void) | undefined
  const note = () => {
    changed = true
    wake?.()
  }
  const unsubscribe = sources.map(subscribe => subscribe(note))
  signal.addEventListener('abort', note)
  try {
    while (!signal.aborted) {
      changed = false
      yield look()
      await pause(pauseMs, signal)
      if (!changed && !signal.aborted) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    }
  } finally {
    for (const stop of unsubscribe) stop()
    signal.removeEventListener('abort', note)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
