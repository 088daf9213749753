import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { type OutputOptions, printList, withOutput } from '../output/print.ts'
import { parseTarget, revocable } from '../target.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly active?: true
  readonly target?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('revocations', 'What was revoked, and the receipt of each agent.', [
        'fleetcat revocations',
        'fleetcat revocations --active',
        'fleetcat revocations --target source/203.0.113.9 -o wide',
        'fleetcat revocations -o json',
      ])
        .option('--active', 'only what shuts something out now: sources, and names that are locked')
        .option(
          '--target <target>',
          'only those of relay/NAME, source/CIDR, …; of a source, also wider networks',
        ),
    ),
  ).action(async (options: Options) => {
    const { active = false, target } = options
    if (target !== undefined) parseTarget(target, revocable)
    const [{ withFleet }, { unary }, { revocationItem, revocations }] = await Promise.all([
      import('../client.ts'),
      import('#wire/call.ts'),
      import('../views/revocation.ts'),
    ])
    await withFleet(options, async operator => {
      const request = { id: '', active, target }
      const answer = await unary(operator, operator.listRevocations, request, {
        what: 'list the revocations',
      })
      const filtered = active || target !== undefined
      await printList(answer.revocations.map(revocationItem), revocations, options, { filtered })
    })
  })
}
