import type { OperatorServiceClient, RelayView } from '#gen/fleetcat/v1/operator.ts'
import { parseAddress } from '#relay/address.ts'
import { kindOf, suggestKeyword } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { unary } from '#wire/call.ts'
import { usage } from './failure.ts'

/** Relays that are chosen by what they are. What is absent chooses nothing; what is given must all hold. */
export interface Choice {
  readonly selector?: string
  /** A keyword of an address: listening, target or copy. */
  readonly kind?: string
  readonly olderThanMs?: number
}

export const isChoice = ({ selector, kind, olderThanMs }: Choice): boolean =>
  Boolean(selector || kind) || olderThanMs !== undefined

/** The names of all that match. Rejects with a RelayError `not-found` when none does. */
export async function chosenRelays(operator: OperatorServiceClient, choice: Choice): Promise<string[]> {
  const { selector = '', kind, olderThanMs } = choice
  const keyword = kind === undefined ? undefined : keywordOf(kind)
  const filter = { selector, agent: '', name: '' }
  const { relays } = await unary(operator, operator.listRelays, { filter }, { what: 'list the relays' })
  const names = relays
    .filter(view => keyword === undefined || has(view, keyword))
    .filter(view => olderThanMs === undefined || ageOf(view) > olderThanMs)
    .flatMap(({ relay }) => (relay ? [relay.name] : []))
  if (names.length > 0) return names
  throw new RelayError('not-found', {
    what: 'fleetcat revoke',
    why: 'no relay matches',
    fix: '`fleetcat list -o wide` shows them with their labels',
  })
}

function keywordOf(text: string): string {
  const kind = kindOf(text)
  if (kind) return kind.keyword
  throw usage(`--kind ${text}`, 'there is no kind of address of that name', suggestKeyword(text))
}

/** `TCP` is also what covers it: TCP4, TCP6. */
function has({ relay }: RelayView, keyword: string): boolean {
  const { listen = '', targets = [], tee = [] } = relay?.spec ?? {}
  return [listen, ...targets.flatMap(target => target.split('!!')), ...tee].some(text => {
    const kind = kindOf(parseAddress(text).keyword)
    return kind?.keyword === keyword || kind?.covers?.includes(keyword)
  })
}

const ageOf = ({ relay }: RelayView) => Date.now() - (relay?.createdAt?.getTime() ?? Date.now())
