import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { collect, define } from '../command.ts'
import { note } from '../failure.ts'
import { fleetcatHome } from '../home.ts'
import { type ServiceOptions, withService } from '../service-options.ts'
import { stopRequests } from '../signals.ts'
import { backupCommand, restoreCommand } from './controller-backup.ts'

interface Options extends ServiceOptions {
  readonly listen: string
  readonly advertise?: string[]
  readonly config?: string
}

export function command(): Command {
  const service = withService(
    define(
      'controller',
      'Runs the controller of a fleet. Its first start makes the cluster and your admin context.',
      [
        'fleetcat controller --advertise fleet.example.com:7443',
        'fleetcat controller --listen 10.0.0.1:7443 --data /var/lib/fleetcat/controller',
        'fleetcat controller backup /var/backups/fleetcat-monday',
      ],
    )
      .option('--listen <host:port>', 'its one port', '0.0.0.0:7443')
      .option('--advertise <name:port>', 'how agents and operators reach it (repeatable)', collect)
      .option('--config <file>', 'controller.yaml: lifetimes of certificates and limits of the port'),
    '$FLEETCAT_HOME/controller',
  ).action(controller)
  return service.addCommand(backupCommand()).addCommand(restoreCommand())
}

async function controller(options: Options): Promise<void> {
  const [{ startController }, { keepAdminContext }, { openLog }] = await Promise.all([
    import('#controller/main.ts'),
    import('../admin-context.ts'),
    import('#telemetry/log.ts'),
  ])
  using stop = stopRequests()
  const log = await openLog('controller', options.logLevel)
  const { advertise, config, metrics } = options
  await using running = await startController({
    listen: options.listen,
    dataDir: options.data ? resolve(options.data) : join(fleetcatHome(), 'controller'),
    log,
    ...(advertise && { advertise }),
    ...(config && { configFile: config }),
    ...(metrics && { metrics }),
  })
  await using admin = await keepAdminContext(running, { log })
  const { name, operator } = admin.context
  note(`cluster ${running.cluster} listens on ${running.listening}; you are ${operator} (context ${name})`)
  note('Let a host in: fleetcat token create agent')
  const ended = await Promise.race([stop.asked, running.stopped])
  if (typeof ended === 'object') throw ended
  process.exitCode = ended ?? 0
}
