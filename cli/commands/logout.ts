import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { chosenContext, forgetContext } from '../contexts.ts'
import { print } from '../output/print.ts'

export function command(): Command {
  return withContext(
    define(
      'logout',
      'Forgets an operator’s key and certificate on this host. The controller still knows the operator.',
      ['fleetcat logout', 'fleetcat logout --context prod'],
    ),
  ).action(async (options: { context?: string }) => {
    const { name, operator } = await chosenContext(options.context)
    await forgetContext(name)
    print(`context ${name} (operator ${operator}) removed\n`)
  })
}
