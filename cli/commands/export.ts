import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { print } from '../output/print.ts'

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
  const [{ withFleet }, { unary }, { relayItem }, { asFile }, { yaml }] = await Promise.all([
    import('../client.ts'),
    import('#wire/call.ts'),
    import('../views/relay.ts'),
    import('../views/file.ts'),
    import('../output/structured.ts'),
  ])
  await withFleet(options, async operator => {
    const filter = { selector: options.selector ?? '', agent: '', name: '' }
    const answer = await unary(operator, operator.listRelays, { filter }, { what: 'list the relays' })
    const documents = answer.relays.map(view => yaml(asFile(relayItem(view))))
    print((await Promise.all(documents)).map(text => `---\n${text}`).join(''))
  })
}
