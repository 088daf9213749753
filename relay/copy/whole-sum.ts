import { createHash } from 'node:crypto'

/** The SHA-256 of a whole copy. */
export interface WholeSum {
  add(path: string, sha256: string): void
  digest(): string
}

/**
 * Of one file its own; of a directory that of the list of its files, in the order of their bytes:
 * `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`.
 */
export function wholeSum(kind: 'file' | 'directory'): WholeSum {
  if (kind === 'file') {
    let only = ''
    return {
      add(_, sha256) {
        only = sha256
      },
      digest: () => only,
    }
  }
  const hash = createHash('sha256')
  return {
    add: (path, sha256) => void hash.update(line(path, sha256)),
    digest: () => hash.digest('hex'),
  }
}

/** As sha256sum writes it: a name of more than one line stays on one. */
function line(path: string, sha256: string): string {
  const escaped = path.replace(/[\\\n\r]/g, odd => (odd === '\\' ? '\\\\' : odd === '\n' ? '\\n' : '\\r'))
  return `${escaped === path ? '' : '\\'}${sha256}  ${escaped}\n`
}
