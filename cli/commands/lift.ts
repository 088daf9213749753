import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { usage } from '../failure.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly reason?: string
}

export function command(): Command {
  return withContext(
    withOutput(
      define('lift', 'Lets in again what a revocation shuts out: a source, or a name that is locked.', [
        'fleetcat lift v-4fk2 --reason "it was our own scanner"',
        'fleetcat revocations',
      ])
        .argument('<id>', 'the id of the revocation')
        .option('--reason <text>', 'why, for those who read the log'),
      { headers: false },
    ),
  ).action(async (text: string, options: Options) => {
    const id = idOf(text)
    const [{ withFleet }, { unary }, { revocationItem, revocations }, { RevocationView }] = await Promise.all(
      [
        import('../client.ts'),
        import('#wire/call.ts'),
        import('../views/revocation.ts'),
        import('#gen/fleetcat/v1/operator.ts'),
      ],
    )
    await withFleet(options, async operator => {
      const request = { id, reason: options.reason ?? '' }
      const answer = await unary(operator, operator.lift, request, { what: `lift ${text}` })
      const item = revocationItem(answer.revocation ?? RevocationView.fromPartial({}))
      const said = answer.unchanged ? 'was not in force any more' : 'lifted'
      const human = () => `${item.target} ${said} (${item.id})\n`
      print(await renderItem(item, revocations.name(item), options.output, human))
    })
  })
}

function idOf(text: string): string {
  const id = text.replace(/^revocation\//, '')
  const listed = `fleetcat revocations --active${id.includes('/') ? ` --target ${id}` : ''}`
  if (id && !id.includes('/')) return id
  throw usage(`fleetcat lift \`${text}\``, 'it is not the id of a revocation', `Find it: ${listed}`)
}
