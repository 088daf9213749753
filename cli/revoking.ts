import { randomUUID } from 'node:crypto'
import { type OperatorServiceClient, RevocationView, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { unary } from '#wire/call.ts'
import { toDuration } from '#wire/duration.ts'
import { type Format, print, renderItem, renderList } from './output/print.ts'
import { parseTarget, revocable } from './target.ts'
import { count, revocationItem, revocations } from './views/revocation.ts'

/** What is said of all the targets of one command. */
export interface Terms {
  readonly reason?: string
  readonly lockMs?: number
  /** Of sources: only these relays, and not these networks. */
  readonly relays?: readonly string[]
  readonly except?: readonly string[]
}

/** Answers when the controller has it on disk. */
export async function giveOrder(
  operator: OperatorServiceClient,
  target: string,
  terms: Terms,
  dryRun: boolean,
): Promise<{ view: RevocationView; unchanged: boolean }> {
  const isSource = parseTarget(target, revocable).kind === 'source'
  const request = RevokeRequest.fromPartial({
    target,
    reason: terms.reason ?? '',
    requestId: randomUUID(),
    dryRun,
    lock: terms.lockMs === undefined ? undefined : toDuration(terms.lockMs),
    relays: isSource ? [...(terms.relays ?? [])] : [],
    except: isSource ? [...(terms.except ?? [])] : [],
  })
  const answer = await unary(operator, operator.revoke, request, { what: `revoke ${target}` })
  return { view: answer.revocation ?? RevocationView.fromPartial({}), unchanged: answer.unchanged }
}

/** Shows what the orders would do, and changes nothing. */
export async function preview(
  operator: OperatorServiceClient,
  targets: readonly string[],
  terms: Terms,
  output: Format,
): Promise<void> {
  const orders = await Promise.all(
    targets.map(async target => {
      const { view, unchanged } = await giveOrder(operator, target, terms, true)
      const cut = unchanged ? 0 : await connectionsOf(operator, target, terms)
      const agents = view.revocation?.agents.join(', ') || 'no agent'
      const line = unchanged
        ? `${target} is revoked already\n`
        : `${target} would be revoked on ${agents}, cutting ${count(cut, 'connection')}\n`
      return { item: revocationItem(view), line }
    }),
  )
  const human = () => orders.map(({ line }) => line).join('')
  const [first] = orders
  if (output === 'table' || output === 'wide') print(human())
  else if (orders.length === 1 && first)
    print(await renderItem(first.item, revocations.name(first.item), output, human))
  else {
    const items = orders.map(({ item }) => item)
    print(await renderList(items, revocations, { output, headers: true }))
  }
}

async function connectionsOf(operator: OperatorServiceClient, target: string, terms: Terms): Promise<number> {
  const { kind, id } = parseTarget(target, revocable)
  if (kind === 'operator') return 0
  const filter = { relay: '', agent: '', source: '', id: '', [kind === 'conn' ? 'id' : kind]: id }
  const relays = kind === 'source' && terms.relays?.length ? terms.relays : ['']
  const answers = await Promise.all(
    relays.map(relay => {
      const request = { filter: { ...filter, relay: relay || filter.relay } }
      return unary(operator, operator.listConnections, request, { what: 'list the connections' })
    }),
  )
  return answers.reduce((sum, { connections, omitted }) => sum + connections.length + omitted, 0)
}

/** A script cannot answer, and has said what it wants. */
export const canAsk = (): boolean => Boolean(process.stdin.isTTY && process.stderr.isTTY)

/** Asks the person at the terminal. Rejects when they do not say yes. */
export async function confirm(n: number): Promise<void> {
  const { createInterface } = await import('node:readline/promises')
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  ask.on('SIGINT', () => process.exit(130))
  const answer = await ask.question(`Revoke ${n === 1 ? 'it' : `these ${n}`}? [y/N] `)
  ask.close()
  if (!/^y(es)?$/i.test(answer.trim())) {
    throw new RelayError('closed', {
      what: 'fleetcat revoke',
      why: 'it was not confirmed, and nothing was revoked',
    })
  }
}
