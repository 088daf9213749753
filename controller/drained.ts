/** Resolves once the stream takes more, or when `signal` aborts. */
export function drained(
  stream: {
    once(event: 'drain', listener: () => void): unknown
    off(event: 'drain', listener: () => void): unknown
  },
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      stream.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    stream.once('drain', done)
    signal.addEventListener('abort', done, { once: true })
  })
}
