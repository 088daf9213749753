import { lstatSync, unlinkSync } from 'node:fs'

/** An entry of the file system that was made for as long as something is open. */
export interface Placed {
  /** Removes it, unless somebody has put another one in its place meanwhile. */
  remove(): void
}

/** What is at `path` now. Throws the system's error. */
export function placed(path: string): Placed {
  const ours = lstatSync(path, { bigint: true })
  let removed = false
  return {
    remove() {
      // What is there the next time may have been given the same number.
      if (removed) return
      removed = true
      const now = lstatSync(path, { bigint: true, throwIfNoEntry: false })
      if (now?.ino !== ours.ino || now.dev !== ours.dev) return
      try {
        unlinkSync(path)
      } catch {
        // The directory has become read-only or another's: whoever comes next there says what it finds.
      }
    },
  }
}
