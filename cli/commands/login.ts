import type { Command } from 'commander'
import { define } from '../command.ts'
import { usage } from '../failure.ts'
import { print } from '../output/print.ts'
import { readToken } from '../secret-input.ts'

interface Options {
  readonly tokenFile?: string
  readonly context?: string
}

export function command(): Command {
  return define('login', 'Makes you an operator of a fleet, with a join token of an admin.', [
    'fleetcat login fcat1_…',
    'fleetcat login --token-file token.txt --context prod',
    'ssh admin@controller fleetcat token create operator --name ana -o json | jq -r .token | fleetcat login -',
  ])
    .argument('[token]', 'the token, or - to read it from stdin; default: FLEETCAT_TOKEN')
    .option('--token-file <file>', 'a file that holds the token')
    .option('--context <name>', 'the name to remember the fleet by (default: the name of its cluster)')
    .action(login)
}

async function login(argument: string | undefined, options: Options): Promise<void> {
  const token = await readToken('fleetcat login', argument, options.tokenFile)
  if (token === undefined) {
    throw usage(
      'fleetcat login',
      'no token is given',
      'An admin makes one: fleetcat token create operator --name NAME',
    )
  }
  const { enrolOperator } = await import('../enrolment.ts')
  const { context, role } = await enrolOperator(token, options.context)
  print(
    `logged in to ${context.cluster} as ${context.operator} (${role}); context ${context.name} is the current one\n`,
  )
}
