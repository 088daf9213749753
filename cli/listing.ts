import type { ClientReadableStream } from '@grpc/grpc-js'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { type FleetOptions, withFleet } from './client.ts'
import { note } from './failure.ts'
import { checkNames, type Filter, narrows } from './filter.ts'
import { type Item, type OutputOptions, type Presentation, printList } from './output/print.ts'

export interface ListingOptions extends FleetOptions, OutputOptions {
  readonly watch?: true
}

/** Where the items of one kind come from: once, or again after each change. */
export interface Source<T extends Item, Answer> {
  /** What is done, for an error: `list the relays`. */
  readonly what: string
  readonly once: (operator: OperatorServiceClient, what: string) => Promise<Answer>
  readonly watch: (operator: OperatorServiceClient) => ClientReadableStream<Answer>
  readonly items: (answer: Answer) => T[]
  readonly filter: Filter
  /** Says what the answer cannot hold; empty if it is whole. */
  readonly unknown?: (operator: OperatorServiceClient) => Promise<string>
  /** Says that there are more than the answer holds; empty if there are not. */
  readonly omitted?: (answer: Answer) => string
}

/** Prints the items, or with `--watch` keeps showing them until it is interrupted. */
export async function showListing<T extends Item, Answer>(
  options: ListingOptions,
  how: Presentation<T>,
  source: Source<T, Answer>,
): Promise<void> {
  const filtered = narrows(source.filter)
  if (options.watch) {
    const [{ watched }, { showStates }] = await Promise.all([
      import('./watched.ts'),
      import('./output/watch.ts'),
    ])
    await withFleet(options, operator => checkNames(operator, source.filter))
    return showStates(watched(options, source), how, { ...options, filtered })
  }
  await withFleet(options, async operator => {
    const [answer, unknown] = await Promise.all([
      source.once(operator, source.what),
      source.unknown?.(operator) ?? '',
    ])
    const items = source.items(answer)
    if (items.length === 0) await checkNames(operator, source.filter)
    await printList(items, how, options, { filtered })
    for (const text of [source.omitted?.(answer), unknown]) if (text) note(text)
  })
}
