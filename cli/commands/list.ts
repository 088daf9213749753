import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import type { ListingOptions } from '../listing.ts'
import { withOutput } from '../output/print.ts'

interface Options extends ListingOptions {
  readonly selector?: string
  readonly agent?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('list', 'Relays and how they fare on their agents.', [
        'fleetcat list',
        'fleetcat list -l team=web -w',
        "fleetcat list -o json | jq '.items[].status.state'",
      ])
        .option('-l, --selector <selector>', 'only relays whose labels match, e.g. team=web')
        .option('--agent <agent>', 'only relays on this agent')
        .option('-w, --watch', 'keep showing them as they change'),
    ),
  ).action(list)
}

async function list(options: Options): Promise<void> {
  const [{ showListing }, { relayItem, relays }, { unary }] = await Promise.all([
    import('../listing.ts'),
    import('../views/relay.ts'),
    import('#wire/call.ts'),
  ])
  const filter = { selector: options.selector ?? '', agent: options.agent ?? '', name: '' }
  await showListing(options, relays, {
    what: 'list the relays',
    once: (operator, what) => unary(operator, operator.listRelays, { filter }, { what }),
    watch: operator => operator.watchRelays({ filter }),
    items: answer => answer.relays.map(relayItem),
    filter,
  })
}
