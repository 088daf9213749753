import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { RelayError } from '#relay/errors.ts'
import { type Format, isTabular, print, renderItem, renderList } from './output/print.ts'
import { giveOrder, type Terms } from './revoking.ts'
import { previewItem, previews, previewText } from './views/revocation-preview.ts'

/** Shows what the orders would do, and changes nothing. Answers how many of them would do anything. */
export async function preview(
  operator: OperatorServiceClient,
  targets: readonly string[],
  terms: Terms,
  { output, asList }: { readonly output: Format; readonly asList: boolean },
): Promise<number> {
  const given = await Promise.all(targets.map(target => giveOrder(operator, target, terms, true)))
  const items = given.map(previewItem)
  const [first] = items
  const human = () => previewText(items, terms)
  if (isTabular({ output, headers: true })) print(human())
  else if (first && !asList) print(await renderItem(first, previews.name(first), output, human))
  else print(await renderList(items, previews, { output, headers: true }))
  return items.filter(({ unchanged }) => !unchanged).length
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
