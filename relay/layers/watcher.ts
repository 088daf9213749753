import type { Direction } from '../flow-settings.ts'
import type { Sink } from './taps.ts'

/** What went through a connection, or that this watcher was too slow for some of it. */
export type WatchEvent =
  | {
      readonly is: 'bytes'
      readonly connectionId: string
      readonly direction: Direction
      /** In milliseconds since 1970, with a fraction. */
      readonly at: number
      /** How many bytes had gone that way of that connection before. */
      readonly from: number
      /** A datagram, or a piece of a stream that was carried at once. */
      readonly bytes: Buffer
    }
  | { readonly is: 'lost'; readonly bytes: number }

export interface WatchOptions {
  /** Only that connection; all of the relay if absent. */
  readonly connectionId?: string
  /** Only this way; both if absent. */
  readonly direction?: Direction
  /** How many bytes may wait for the watcher; what comes when there is no room is lost to it. 1 MiB if absent. */
  readonly room?: number
}

/**
 * The events, in order. After `close`, or when the relay has ended, those that wait come yet, and then they end; when it
 * is disposed they end at once.
 */
export interface Watcher extends AsyncIterable<WatchEvent>, Disposable {
  /** All bytes that were lost to it so far. */
  readonly lost: number
  /** Nothing more is to be seen. */
  close(): void
}

/** What keeping an event costs beside its bytes. */
const overhead = 256

export function openWatcher(options: WatchOptions, ended: () => void) {
  const { connectionId, direction: only, room = 1_048_576 } = options
  const waiting: WatchEvent[] = []
  let free = room
  let lost = 0
  let lostSince = 0
  let over = false
  let wake: (() => void) | undefined

  const close = () => {
    if (over) return
    over = true
    wake?.()
    ended()
  }
  const end = () => {
    close()
    waiting.length = 0
    lostSince = 0
  }

  const sink: Sink = ({ id }, direction, bytes, from) => {
    if (over || (connectionId !== undefined && id !== connectionId)) return
    if (only !== undefined && direction !== only) return
    const cost = bytes.length + overhead
    if (cost > free) {
      lost += bytes.length
      lostSince += bytes.length
    } else {
      free -= cost
      tellLost()
      const at = performance.timeOrigin + performance.now()
      waiting.push({ is: 'bytes', connectionId: id, direction, at, from, bytes: Buffer.from(bytes) })
    }
    wake?.()
  }

  const tellLost = () => {
    if (lostSince === 0) return
    waiting.push({ is: 'lost', bytes: lostSince })
    lostSince = 0
  }

  const take = (): WatchEvent | undefined => {
    if (waiting.length === 0) tellLost()
    const event = waiting.shift()
    if (event?.is === 'bytes') free += event.bytes.length + overhead
    return event
  }

  const watcher: Watcher = {
    get lost() {
      return lost
    },
    close,
    [Symbol.asyncIterator]: () => ({
      async next() {
        for (;;) {
          const value = take()
          if (value) return { done: false, value }
          if (over) return { done: true, value: undefined }
          await new Promise<void>(resolve => {
            wake = resolve
          })
        }
      },
      async return() {
        end()
        return { done: true, value: undefined }
      },
    }),
    [Symbol.dispose]: end,
  }
  return { watcher, sink }
}
