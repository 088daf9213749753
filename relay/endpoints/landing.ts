import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Address, formatAddress } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'

/**
 * Where the path of this scope leads. What the ceiling forbids stays forbidden under every name that links give it.
 * The directories on the way are for the host's owner to arrange; but the last part may be a link that whoever can
 * write there has laid, and may then only lead to what is permitted by its own name. Rejects as the file system does, or
 * with the refusal.
 */
export async function landing(scope: Address, { egress }: Pick<OpenContext, 'egress'>): Promise<string> {
  const path = scope.args[0]!
  const [real, parent] = await Promise.all([realpath(path), realpath(dirname(path))])
  const led = at(scope, real)
  if (real !== path) egress.checkForbidden?.(led)
  if (real !== join(parent, basename(path))) egress.check(led)
  return real
}

/** The same for a path at which something will be made. Its directory need not be there. */
export function checkPlaceOf(scope: Address, cx: Pick<OpenContext, 'egress'>): Promise<void> {
  return checkPlaceIn(scope.args[0]!, path => at(scope, path), cx)
}

/** The same for a path that is elsewhere in the scope; `scopeAt` is the scope with another in its place. */
export async function checkPlaceIn(
  path: string,
  scopeAt: (path: string) => Address,
  { egress }: Pick<OpenContext, 'egress'>,
): Promise<void> {
  const parent = await realpath(dirname(path)).catch(() => dirname(path))
  const real = join(parent, basename(path))
  if (real !== path) egress.checkForbidden?.(scopeAt(real))
}

/** The same scope at another path. */
function at({ keyword, options }: Address, path: string): Address {
  const moved = { keyword, args: [path], options }
  return { ...moved, text: formatAddress(moved) }
}
