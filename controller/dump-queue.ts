/** What several agents say, for one reader, in the order in which it came. */
export interface DumpQueue<T> {
  /** `taken` is called once the reader wants more than this. */
  put(item: T, taken?: () => void): void
  /** What is in it may still be taken. */
  close(): void
  take(): AsyncGenerator<T>
}

/** It has no bound of its own: whoever puts waits until it was taken before it puts again. */
export function openDumpQueue<T>(): DumpQueue<T> {
  const items: { readonly item: T; readonly taken: (() => void) | undefined }[] = []
  let closed = false
  let wake: (() => void) | undefined

  function nudge(): void {
    wake?.()
    wake = undefined
  }

  return {
    put(item, taken) {
      if (closed) return
      items.push({ item, taken })
      nudge()
    },
    close() {
      closed = true
      nudge()
    },
    async *take() {
      for (;;) {
        const next = items.shift()
        if (next) {
          yield next.item
          next.taken?.()
        } else if (closed) return
        else {
          await new Promise<void>(resolve => {
            wake = resolve
          })
        }
      }
    },
  }
}
