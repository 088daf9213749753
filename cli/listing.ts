import type { ClientReadableStream } from '@grpc/grpc-js'
import type { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { messages } from '#wire/call.ts'
import { type FleetOptions, withFleet } from './client.ts'
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
}

/** Prints the items, or with `--watch` keeps showing them until it is interrupted. */
export async function showListing<T extends Item, Answer>(
  options: ListingOptions,
  how: Presentation<T>,
  source: Source<T, Answer>,
): Promise<void> {
  await withFleet(options, async operator => {
    if (!options.watch) {
      const items = source.items(await source.once(operator, source.what))
      return await printList(items, how, options)
    }
    const { showStates } = await import('./output/watch.ts')
    await showStates(states(messages(source.watch(operator), source.what), source.items), how, options)
  })
}

async function* states<Answer, T>(answers: AsyncIterable<Answer>, items: (answer: Answer) => T[]) {
  for await (const answer of answers) yield items(answer)
}
