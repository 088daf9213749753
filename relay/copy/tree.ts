import { type Directory, openDirectory } from '../files/place.ts'
import { parted } from './entry-names.ts'

/**
 * A directory and what is below it. Every directory there is opened from the one above it and through no link, so that
 * nobody who exchanges one for a link gets us anywhere else.
 */
export interface Tree extends AsyncDisposable {
  /** Does something in the directory of this path; that of the root is nothing. Rejects with ENOTDIR at a link. */
  within<T>(path: string, act: (directory: Directory) => Promise<T>): Promise<T>
}

/** Entries come directory after directory, so a few of them are enough. */
const mostIdle = 32

interface Held {
  readonly opening: Promise<Directory>
  users: number
}

/** Takes the directory over. */
export function openTree(root: Directory): Tree {
  const held = new Map<string, Held>([['', { opening: Promise.resolve(root), users: 1 }]])

  async function within<T>(path: string, act: (directory: Directory) => Promise<T>): Promise<T> {
    const one = held.get(path) ?? enter(path)
    one.users++
    try {
      return await act(await one.opening)
    } finally {
      one.users--
      if (held.size > mostIdle) await letGo()
    }
  }

  function enter(path: string): Held {
    const { directory, name } = parted(path)
    const opening = within(directory, above => openDirectory(above.entry(name), { follow: false }))
    const one = { opening, users: 0 }
    held.set(path, one)
    opening.catch(() => {
      if (held.get(path) === one) held.delete(path)
    })
    return one
  }

  /** The oldest of those that nobody uses. A descriptor that somebody still names must never be another's. */
  async function letGo(): Promise<void> {
    for (const [path, one] of held) {
      if (one.users > 0) continue
      held.delete(path)
      await closed(one)
      return
    }
  }

  return {
    within,
    async [Symbol.asyncDispose]() {
      for (const one of held.values()) await closed(one)
      held.clear()
    },
  }
}

async function closed({ opening }: Held): Promise<void> {
  const directory = await opening.catch(() => undefined)
  await directory?.[Symbol.asyncDispose]()
}
