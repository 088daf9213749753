import type { Command } from 'commander'
import { define, withContext } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { type OutputOptions, withOutput } from '../output/print.ts'
import { parseTarget, revocable } from '../target.ts'

interface Options extends OutputOptions {
  readonly context?: string
  readonly for: 'ready' | 'revoked'
  readonly timeout: number
}

export function command(): Command {
  const wait = define('wait', 'Waits until a relay is ready on all its agents, or its revocation is done.', [
    'fleetcat wait relay/web --for ready',
    'fleetcat wait relay/web --for revoked --timeout 2m',
  ]).argument('<target>', 'relay/NAME; with --for revoked also conn/ID, agent/NAME, operator/NAME')
  wait
    .addOption(
      wait
        .createOption('--for <state>', 'what to wait for')
        .choices(['ready', 'revoked'])
        .makeOptionMandatory(),
    )
    .addOption(
      wait
        .createOption('--timeout <duration>', 'give up after this')
        .argParser(text => parseDuration(text, '--timeout'))
        .default(30_000, '30s'),
    )
  return withContext(withOutput(wait, { headers: false })).action(waitFor)
}

async function waitFor(text: string, options: Options): Promise<void> {
  const { withFleet } = await import('../client.ts')
  if (options.for === 'ready') {
    const { id } = parseTarget(text, ['relay'])
    const [{ untilReady }, { showOutcome }] = await Promise.all([
      import('../readiness.ts'),
      import('../outcome.ts'),
    ])
    return withFleet(options, async operator => {
      const outcome = await untilReady(operator, id, options.timeout, { patient: true })
      await showOutcome(outcome, `relay/${id} ${outcome.relay.status.state}`, options.output)
    })
  }
  const target = parseTarget(text, revocable)
  const [{ revocationOf }, { exitCodeFor, untilFinal }, { openVerdictDisplay }] = await Promise.all([
    import('../revoked.ts'),
    import('../verdicts.ts'),
    import('../verdict-display.ts'),
  ])
  const deadline = performance.now() + options.timeout
  await withFleet(options, async operator => {
    const order = await revocationOf(operator, target, options.timeout)
    using display = openVerdictDisplay(options.output)
    const said = 'revoked'
    const followed = await untilFinal(
      operator,
      order,
      Math.max(1, deadline - performance.now()),
      (revocation, waitsFor) => display.show({ revocation, said, overdue: false }, waitsFor),
    )
    await display.finish([{ ...followed, said }])
    process.exitCode = exitCodeFor(followed, { fencesPass: true })
  })
}
