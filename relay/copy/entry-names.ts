/** What our own names for what is not complete begin with. */
export const ownPrefix = '.fleetcat-'

const longestName = 255
const longestPath = 4_000
const deepest = 200

/**
 * What is wrong with the path of an entry, as the other side has sent it; nothing if it leads to below the target, by
 * names alone. Line ends and other odd characters are no harm to a file system.
 */
export function wrongPath(path: string): string | undefined {
  if (path === '') return 'it has no name'
  if (path.startsWith('/')) return 'its name is an absolute path'
  if (path.includes('\0')) return 'there is a NUL in its name'
  if (Buffer.byteLength(path) > longestPath) return `its path is longer than ${longestPath} bytes`
  const names = path.split('/')
  if (names.length > deepest) return `it is more than ${deepest} directories deep`
  for (const name of names) {
    if (name === '..') return 'its name leads out of the directory that is copied'
    if (name === '' || name === '.') return 'there is an empty name in its path'
    if (Buffer.byteLength(name) > longestName) return `its name is longer than ${longestName} bytes`
    if (name.startsWith(ownPrefix)) return `names that begin with ${ownPrefix} are those of unfinished copies`
  }
  return undefined
}

/** Of the name that a copy is to have in a directory: what is wrong with it. */
export const wrongName = (name: string): string | undefined =>
  name.includes('/') ? 'there is a slash in its name' : wrongPath(name)

/** The directory of an entry, as its path from the root, which is nothing; and its name there. */
export function parted(path: string): { readonly directory: string; readonly name: string } {
  const slash = path.lastIndexOf('/')
  return { directory: path.slice(0, Math.max(0, slash)), name: path.slice(slash + 1) }
}
