import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import type { ListingOptions } from '../listing.ts'
import { withOutput } from '../output/print.ts'

interface Options extends ListingOptions {
  readonly selector?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('agents', 'Agents and how they fare.', [
        'fleetcat agents',
        'fleetcat agents -l site=paris -w',
        'fleetcat agents -o wide',
      ])
        .option('-l, --selector <selector>', 'only agents whose labels match, e.g. site=paris')
        .option('-w, --watch', 'keep showing them as they change'),
    ),
  ).action(agents)
}

async function agents(options: Options): Promise<void> {
  const [{ showListing }, { agentItem, agents }, { unary }] = await Promise.all([
    import('../listing.ts'),
    import('../views/agent.ts'),
    import('#wire/call.ts'),
  ])
  const selector = options.selector ?? ''
  await showListing(options, agents, {
    what: 'list the agents',
    once: (operator, what) => unary(operator, operator.listAgents, { selector, name: '' }, { what }),
    watch: operator => operator.watchAgents({ selector }),
    items: answer => answer.agents.map(agentItem),
    filter: { selector },
  })
}
