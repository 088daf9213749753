import type { Command } from 'commander'
import { parseDuration } from './duration.ts'
import { usage } from './failure.ts'
import { checked, choice, count } from './option-values.ts'
import { balances, httpPath, type SharingItem } from './views/sharing.ts'

/** What commander makes of them. */
export interface SharingOptions {
  readonly balance?: SharingItem['balance']
  readonly health?: string
  readonly healthInterval?: string
  readonly healthTimeout?: string
  readonly healthRise?: number
  readonly healthFall?: number
}

/** Adds the options that say how targets share the connections, and how they are looked after. */
export function withSharing(command: Command): Command {
  const duration = (option: string) => checked(text => parseDuration(text, option))
  return command
    .addOption(
      choice(command, '--balance <how>', 'which of several targets a connection tries first', balances),
    )
    .option(
      '--health <check>',
      'look after the targets: connect, or http:/PATH that must answer 2xx or 3xx',
      checked(text => httpPath(text, '--health')),
    )
    .option(
      '--health-interval <duration>',
      'with --health: time between checks (default: 5s)',
      duration('--health-interval'),
    )
    .option(
      '--health-timeout <duration>',
      'with --health: time for one check (default: 2s)',
      duration('--health-timeout'),
    )
    .option(
      '--health-rise <n>',
      'with --health: so many good checks bring a target up (default: 2)',
      count('--health-rise'),
    )
    .option(
      '--health-fall <n>',
      'with --health: so many bad ones take it down (default: 3)',
      count('--health-fall'),
    )
}

/** Throws a RelayError `usage` when there are details of checks and no checks. */
export function sharingOf(command: string, options: SharingOptions): SharingItem {
  const { balance, health, healthInterval, healthTimeout, healthRise, healthFall } = options
  if (health === undefined) {
    const [detail] = Object.entries({ healthInterval, healthTimeout, healthRise, healthFall })
      .filter(([, value]) => value !== undefined)
      .map(([name]) => `--health-${name.slice('health'.length).toLowerCase()}`)
    if (detail)
      throw usage(
        command,
        `${detail} has no checks to be about`,
        'Add --health connect, or --health http:/PATH',
      )
  }
  return {
    ...(balance && { balance }),
    ...(health && {
      health: {
        check: health,
        ...(healthInterval && { interval: healthInterval }),
        ...(healthTimeout && { timeout: healthTimeout }),
        ...(healthRise && { rise: healthRise }),
        ...(healthFall && { fall: healthFall }),
      },
    }),
  }
}
