import type { Command } from 'commander'
import { define } from '../command.ts'
import { type Context, readConfig } from '../config.ts'
import { forgetContext, useContext } from '../contexts.ts'
import { type OutputOptions, type Presentation, print, printList, withOutput } from '../output/print.ts'

interface ContextItem extends Context {
  readonly kind: 'Context'
  readonly current: boolean
}

const presentation: Presentation<ContextItem> = {
  listKind: 'ContextList',
  none: 'No context. Run `fleetcat up`, or `fleetcat login TOKEN`.',
  name: item => item.name,
  key: item => item.name,
  columns: [
    { title: 'CURRENT', cell: item => (item.current ? '*' : ' ') },
    { title: 'NAME', cell: item => item.name },
    { title: 'CLUSTER', cell: item => item.cluster },
    { title: 'ADDRESS', cell: item => item.addresses.join(',') },
    { title: 'OPERATOR', cell: item => item.operator },
  ],
}

export function command(): Command {
  const contexts = withOutput(
    define('contexts', 'The fleets that you can reach from here.', [
      'fleetcat contexts',
      'fleetcat contexts use prod',
      'fleetcat contexts remove old',
    ]),
  ).action(list)
  contexts
    .addCommand(
      define('use', 'Make a context the current one.')
        .argument('<context>', 'its name')
        .action(async (name: string) => {
          await useContext(name)
          print(`context ${name} is the current one\n`)
        }),
    )
    .addCommand(
      define('remove', 'Forget a context with its key and certificate.')
        .argument('<context>', 'its name')
        .action(async (name: string) => {
          await forgetContext(name)
          print(`context ${name} removed\n`)
        }),
    )
  return contexts
}

async function list(options: OutputOptions): Promise<void> {
  const { current, contexts } = await readConfig()
  const items = contexts.map(context => ({
    kind: 'Context' as const,
    ...context,
    current: context.name === current,
  }))
  await printList(items, presentation, options)
}
