import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly context?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('whoami', 'Your name and role, as the controller sees them.', [
        'fleetcat whoami',
        'fleetcat whoami -o json --context prod',
      ]),
      { headers: false },
    ),
  ).action(whoami)
}

async function whoami(options: Options): Promise<void> {
  const [{ withFleet }, { unary }, { time }, { until }] = await Promise.all([
    import('../client.ts'),
    import('#wire/call.ts'),
    import('../views/words.ts'),
    import('../output/time.ts'),
  ])
  await withFleet(options, async (operator, { context }) => {
    const answer = await unary(operator, operator.whoAmI, {}, { what: 'ask who I am' })
    const { name, role, cluster } = answer
    const expiresAt = time(answer.expiresAt)
    const item = { kind: 'Operator', name, role, cluster, context: context.name, expiresAt }
    const human = () =>
      `${name}, ${role} of ${cluster} (context ${context.name}); certificate for ${until(expiresAt, Date.now())} more\n`
    print(await renderItem(item, `operator/${name}`, options.output, human))
  })
}
