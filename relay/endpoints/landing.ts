import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Address, formatAddress } from '../address.ts'
import type { OpenContext } from '../endpoint.ts'

/**
 * Where the path of this scope leads. What the ceiling forbids stays forbidden under every name that links give it, and
 * where they lead must be permitted too: see `EgressPolicy.checkLed`. Rejects as the file system does, or with the
 * refusal.
 */
export async function landing(scope: Address, cx: Pick<OpenContext, 'egress'>): Promise<string> {
  const real = await realpath(scope.args[0]!)
  checkLanding(scope, real, cx)
  return real
}

/** The judgement of `landing`, of a place that is known. */
export function checkLanding(scope: Address, real: string, { egress }: Pick<OpenContext, 'egress'>): void {
  if (real === scope.args[0]) return
  const led = at(scope, real)
  egress.checkForbidden?.(led)
  egress.checkLed?.(scope, led)
}

/** The same for a path at which something will be made. Its directory need not be there. */
export async function checkPlaceOf(scope: Address, cx: Pick<OpenContext, 'egress'>): Promise<void> {
  checkLanding(scope, await realPlace(scope.args[0]!), cx)
}

/** What is forbidden there, for a path that is elsewhere in the scope; `scopeAt` is the scope with another in its place. */
export async function checkPlaceIn(
  path: string,
  scopeAt: (path: string) => Address,
  { egress }: Pick<OpenContext, 'egress'>,
): Promise<void> {
  const real = await realPlace(path)
  if (real !== path) egress.checkForbidden?.(scopeAt(real))
}

async function realPlace(path: string): Promise<string> {
  return join(await realpath(dirname(path)).catch(() => dirname(path)), basename(path))
}

/** The same scope at another path. */
function at({ keyword, options }: Address, path: string): Address {
  const moved = { keyword, args: [path], options }
  return { ...moved, text: formatAddress(moved) }
}
