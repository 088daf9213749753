import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { type OutputOptions, printList, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly context?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('revocations', 'What was revoked, and the receipt of each agent.', [
        'fleetcat revocations',
        'fleetcat revocations -o wide',
        'fleetcat revocations -o json',
      ]),
    ),
  ).action(async (options: Options) => {
    const [{ withFleet }, { unary }, { revocationItem, revocations }] = await Promise.all([
      import('../client.ts'),
      import('#wire/call.ts'),
      import('../views/revocation.ts'),
    ])
    await withFleet(options, async operator => {
      const request = { id: '' }
      const answer = await unary(operator, operator.listRevocations, request, {
        what: 'list the revocations',
      })
      await printList(answer.revocations.map(revocationItem), revocations, options)
    })
  })
}
