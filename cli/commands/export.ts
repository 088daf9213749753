import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { apiVersion, print } from '../output/print.ts'
import type { RelayItem } from '../views/relay.ts'

interface Options {
  readonly context?: string
  readonly selector?: string
}

export function command(): Command {
  return withContext(
    define('export', 'Relays as YAML that apply takes back unchanged.', [
      'fleetcat export > relays.yaml',
      'fleetcat export -l team=web | fleetcat apply -f - --context staging',
    ]).option('-l, --selector <selector>', 'only relays whose labels match'),
  ).action(run)
}

async function run(options: Options): Promise<void> {
  const [{ withFleet }, { unary }, { relayItem }, { yaml }] = await Promise.all([
    import('../client.ts'),
    import('#wire/call.ts'),
    import('../views/relay.ts'),
    import('../output/structured.ts'),
  ])
  await withFleet(options, async operator => {
    const filter = { selector: options.selector ?? '', agent: '', name: '' }
    const answer = await unary(operator, operator.listRelays, { filter }, { what: 'list the relays' })
    const documents = answer.relays.map(view => yaml(asFile(relayItem(view))))
    print((await Promise.all(documents)).map(text => `---\n${text}`).join(''))
  })
}

/** What a person would have written: nothing that is empty, nothing that the fleet reports. */
export function asFile({ metadata, spec }: RelayItem) {
  const { name, labels, reason } = metadata
  const { listen, targets, agents, selector, limits } = spec
  return {
    apiVersion,
    kind: 'Relay',
    metadata: { name, ...(Object.keys(labels).length > 0 && { labels }), ...(reason && { reason }) },
    spec: {
      listen,
      targets,
      ...(agents.length > 0 && { agents }),
      ...(selector && { selector }),
      ...(Object.keys(limits).length > 0 && { limits }),
    },
  }
}
