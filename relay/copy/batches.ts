import type { Conversation } from './conversation.ts'
import type { Message } from './messages.ts'

/** Things that are said many at a time: a message for each would cost more than what it is about. */
export interface Batch<T> {
  add(item: T): Promise<void>
  /** Says what is there. */
  flush(): Promise<void>
}

const mostItems = 200
/** Of text, which JSON makes up to six times as long: well below what a message may have. */
const mostText = 65_536

export function batch<T>(
  { say }: Pick<Conversation, 'say'>,
  message: (items: readonly T[]) => Message,
  textOf: (item: T) => string,
): Batch<T> {
  let items: T[] = []
  let length = 0
  const flush = async () => {
    if (items.length === 0) return
    const all = items
    items = []
    length = 0
    await say(message(all))
  }
  return {
    async add(item) {
      items.push(item)
      length += textOf(item).length
      if (items.length >= mostItems || length > mostText) await flush()
    },
    flush,
  }
}
