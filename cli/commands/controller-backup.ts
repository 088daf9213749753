import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { define } from '../command.ts'
import { note } from '../failure.ts'
import { fleetcatHome } from '../home.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'

interface Options extends OutputOptions {
  readonly data?: string
}

const dataOption = ['--data <dir>', 'the controller’s state (default: $FLEETCAT_HOME/controller)'] as const

const dataDir = ({ data }: Options) => (data ? resolve(data) : join(fleetcatHome(), 'controller'))

export function backupCommand(): Command {
  return withOutput(
    define(
      'backup',
      'Copies the state of a controller, also while it runs. Keep the copy as safe as the original.',
      ['fleetcat controller backup /var/backups/fleetcat-monday'],
    )
      .argument('<dir>', 'a new directory for the copy')
      .option(...dataOption),
    { headers: false },
  ).action(async (target: string, _: unknown, command: Command) => {
    const options = command.optsWithGlobals<Options>()
    const { backUp } = await import('#controller/backup/back-up.ts')
    const path = resolve(target)
    const { cluster, epoch, revision, at } = await backUp(dataDir(options), path)
    const item = { kind: 'Backup' as const, path, cluster, epoch, revision, at }
    const human = () => `${path}: cluster ${cluster}, epoch ${epoch}, revision ${revision}\n`
    print(await renderItem(item, path, options.output, human))
  })
}

export function restoreCommand(): Command {
  return withOutput(
    define(
      'restore',
      'Makes an empty directory the state of a controller again, from a backup, and raises its epoch.',
      ['fleetcat controller restore /var/backups/fleetcat-monday --data /var/lib/fleetcat/controller'],
    )
      .argument('<dir>', 'the backup')
      .option(...dataOption),
    { headers: false },
  ).action(async (backup: string, _: unknown, command: Command) => {
    const options = command.optsWithGlobals<Options>()
    const { restore } = await import('#controller/backup/restore.ts')
    const data = dataDir(options)
    const { cluster, newEpoch, revision, at } = await restore(resolve(backup), data)
    const item = { kind: 'Restored' as const, path: data, cluster, epoch: newEpoch, revision, at }
    const human = () => `${data}: cluster ${cluster} as of ${at}, now in epoch ${newEpoch}\n`
    print(await renderItem(item, data, options.output, human))
    note(
      `Revoke again every agent and operator that was revoked after ${at}: this copy does not know of it. Relays that were revoked since stay dead on each host that was told.`,
    )
  })
}
