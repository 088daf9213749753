import { shown } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import { RelayError } from './errors.ts'

/**
 * Where clients say themselves where they want to go there is one target that hears them, and nowhere else. Throws a
 * RelayError `usage`.
 */
export function checkAsked(
  listen: Endpoint,
  targets: readonly Endpoint[],
  copies: readonly Endpoint[] = [],
): void {
  const asks = partsOf(listen).some(part => part.asks)
  const asked = [...targets, ...copies].flatMap(partsOf).find(({ goesWhereAsked }) => goesWhereAsked)
  if (asks && (listen.halves || targets.length !== 1 || !targets[0]!.goesWhereAsked)) {
    const why = 'its clients say where they want to go, and no other target hears them'
    throw misplaced(listen, why, 'Write `ASKED` as its one target')
  }
  if (asked && (!asks || copies.flatMap(partsOf).includes(asked))) {
    const why = 'it goes where each client asks to, and nobody asks here'
    throw misplaced(asked, why, 'Write it as the one target of a `SOCKS-LISTEN:<port>`')
  }
}

const partsOf = (endpoint: Endpoint): readonly Endpoint[] => endpoint.halves?.flatMap(partsOf) ?? [endpoint]

function misplaced({ address: { text } }: Endpoint, why: string, fix: string): RelayError {
  return new RelayError('usage', { what: `address \`${shown(text)}\``, why, fix })
}
