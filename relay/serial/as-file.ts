import type { HeldPort } from './locks.ts'

/** Terminals that this process has open as files, by their `rdev`, and for whom: no lock is taken for those. */
const users = new Map<number, Set<HeldPort>>()

/** Writes down that somebody has a terminal as a file, until disposal. */
export function useAsFile(rdev: number, user: HeldPort): Disposable {
  const all = users.get(rdev) ?? new Set()
  users.set(rdev, all.add(user))
  return {
    [Symbol.dispose]() {
      all.delete(user)
      if (all.size === 0 && users.get(rdev) === all) users.delete(rdev)
    },
  }
}

/** Who of this process has this device as a file. */
export function fileUsers(rdev: number): readonly HeldPort[] {
  return [...(users.get(rdev) ?? [])]
}
