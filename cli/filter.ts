import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { unary } from '#wire/call.ts'

/** What a list is narrowed down to; empty text narrows nothing. */
export interface Filter {
  readonly selector?: string
  readonly relay?: string
  readonly agent?: string
  readonly source?: string
}

export const narrows = (filter: Filter): boolean => Object.values(filter).some(text => text !== '')

/** Rejects with a RelayError `not-found` when the filter names a relay or an agent that is not there. */
export async function checkNames(operator: OperatorServiceClient, { relay, agent }: Filter): Promise<void> {
  if (agent) {
    const request = { selector: '', name: '' }
    const { agents } = await unary(operator, operator.listAgents, request, { what: 'list the agents' })
    mustBe(
      'agent',
      agent,
      agents.map(({ name }) => name),
    )
  }
  if (relay) {
    const request = { filter: undefined }
    const { relays } = await unary(operator, operator.listRelays, request, { what: 'list the relays' })
    if (relays.some(view => view.relay?.id === relay)) return
    mustBe(
      'relay',
      relay,
      relays.map(view => view.relay?.name ?? ''),
    )
  }
}

const lists = { agent: 'agents', relay: 'list' } as const

function mustBe(kind: keyof typeof lists, name: string, names: readonly string[]): void {
  if (names.includes(name)) return
  const near = nearest(name, names)
  throw new RelayError('not-found', {
    what: `${kind}/${name}`,
    why: 'there is none of that name',
    fix: near ? `Did you mean ${near}?` : `\`fleetcat ${lists[kind]}\` shows what there is`,
  })
}
