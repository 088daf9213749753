import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import type { ListingOptions } from '../listing.ts'
import { withOutput } from '../output/print.ts'

interface Options extends ListingOptions {
  readonly relay?: string
  readonly agent?: string
  readonly source?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('connections', 'Every live connection of the fleet.', [
        'fleetcat connections',
        'fleetcat connections --relay web -w',
        'fleetcat connections --source 203.0.113.0/24 -o name | xargs fleetcat revoke',
      ])
        .option('--relay <relay>', 'only those through this relay')
        .option('--agent <agent>', 'only those on this agent')
        .option('--source <cidr>', 'only those that come from this network')
        .option('-w, --watch', 'keep showing them as they change'),
    ),
  ).action(connections)
}

async function connections(options: Options): Promise<void> {
  const [{ showListing }, { omittedText, unseenAgents }, { connectionItem, connections }, { unary }] =
    await Promise.all([
      import('../listing.ts'),
      import('../unseen.ts'),
      import('../views/connection.ts'),
      import('#wire/call.ts'),
    ])
  const { relay = '', agent = '', source = '' } = options
  const filter = { relay, agent, source, id: '' }
  await showListing(options, connections, {
    what: 'list the connections',
    once: (operator, what) => unary(operator, operator.listConnections, { filter }, { what }),
    watch: operator => operator.watchConnections({ filter }),
    items: answer => answer.connections.map(connectionItem),
    filter,
    unknown: operator => unseenAgents(operator, filter),
    omitted: answer => omittedText(answer.omitted),
  })
}
