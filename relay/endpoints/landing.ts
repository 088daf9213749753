import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Address } from '../address.ts'
import { formatAddress } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'

/**
 * Where the path of this scope leads. The directories on the way are for the host's owner to arrange, but the last
 * part may be a link that whoever can write there has laid: it may then only lead to what may be opened by its own
 * name. Rejects as the file system does, or with the refusal.
 */
export async function landing(scope: Address, cx: Pick<OpenContext, 'egress'>): Promise<string> {
  const path = scope.args[0]!
  const [real, parent] = await Promise.all([realpath(path), realpath(dirname(path))])
  if (real !== join(parent, basename(path))) {
    const { keyword, options } = scope
    cx.egress.check({
      keyword,
      args: [real],
      options,
      text: formatAddress({ keyword, args: [real], options }),
    })
  }
  return real
}
