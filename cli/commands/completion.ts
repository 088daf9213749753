import type { Command } from 'commander'
import { define } from '../command.ts'
import { print } from '../output/print.ts'

type Shell = 'bash' | 'zsh' | 'fish'

export function command(): Command {
  const completion = define('completion', 'Completion for your shell, to be loaded by it.', [
    'source <(fleetcat completion bash)',
    'source <(fleetcat completion zsh)',
    'fleetcat completion fish | source',
  ])
  completion.addArgument(completion.createArgument('<shell>', 'your shell').choices(['bash', 'zsh', 'fish']))
  return completion.action(async (shell: Shell) => {
    const [{ grammar }, { bash, zsh }, { fish }] = await Promise.all([
      import('../completion/grammar.ts'),
      import('../completion/posix.ts'),
      import('../completion/fish.ts'),
    ])
    print({ bash, zsh, fish }[shell](await grammar()))
  })
}
