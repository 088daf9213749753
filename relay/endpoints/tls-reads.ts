import type { Address } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { filesOf } from './tls-auto.ts'
import type { TlsFiles } from './tls-files.ts'

/**
 * The files as the ceiling sees them. Their contents never leave this host, but whoever names a key speaks with the
 * voice of its owner; so the host's owner has to permit each.
 */
export function readScopes(files: TlsFiles): readonly Address[] {
  const { cert, key, cafile, dhparams } = filesOf(files)
  const paths = [cert, key, cafile, dhparams].filter(path => path !== undefined)
  return [...new Set(paths)].map(path => ({
    keyword: 'OPEN',
    args: [path],
    options: [{ name: 'rdonly', at: 0 }],
    text: `OPEN:${path},rdonly`,
  }))
}

/** Throws the ceiling's refusal of a file, and says for which address it was. */
export function checkReads(reads: readonly Address[], cx: OpenContext, what: string): void {
  for (const file of reads) {
    try {
      cx.egress.check(file)
    } catch (thrown) {
      throw RelayError.from(thrown, file.text).within(`${what}: reading ${file.args[0]}`)
    }
  }
}
