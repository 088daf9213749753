import { statSync } from 'node:fs'

/** Which device a path leads to now: it has many names. Undefined where there is nothing. */
export function rdevOf(path: string): number | undefined {
  try {
    return statSync(path).rdev
  } catch {
    return undefined
  }
}
