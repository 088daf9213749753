import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { collect, define } from '../command.ts'
import { fleetcatHome } from '../home.ts'
import { readToken } from '../secret-input.ts'
import { type ServiceOptions, withService } from '../service-options.ts'
import { stopRequests } from '../signals.ts'

interface Options extends ServiceOptions {
  readonly join?: string
  readonly tokenFile?: string
  readonly name?: string
  readonly label?: string[]
  readonly config?: string
  readonly permit?: string[]
  readonly tunnelListen?: string
}

export function command(): Command {
  return withService(
    define('agent', 'Runs relays on this host, inside the ceiling that its owner sets. It dials out only.', [
      'fleetcat agent --join fcat1_…',
      'fleetcat agent --token-file token.txt --name edge-1 --label rack=7',
      "fleetcat agent --permit 'TCP-LISTEN:10.0.0.0/8:8000-8999'",
    ])
      .option('--join <token>', 'a join token, or - to read it from stdin; only the first start needs one')
      .option('--token-file <file>', 'a file that holds the token; FLEETCAT_TOKEN works too')
      .option('--name <name>', 'its name, if the token leaves that open (default: the host’s)')
      .option('--label <name=value>', 'what the host says of itself, as host.NAME (repeatable)', collect)
      .option('--config <file>', 'agent.yaml: what this host permits (default: the one in --data)')
      .option(
        '--tunnel-listen <address>',
        'let tunnels come straight to HOST:PORT here, and not only through the controller',
      )
      .option('--permit <pattern>', 'one more address pattern that this host permits (repeatable)', collect),
    '$FLEETCAT_HOME/agent',
  ).action(agent)
}

async function agent(options: Options): Promise<void> {
  const token = await readToken('fleetcat agent', options.join, options.tokenFile)
  const [{ startAgent }, { openLog }, { parseLabels }, { watchOverAgent }] = await Promise.all([
    import('#agent/main.ts'),
    import('#telemetry/log.ts'),
    import('../labels.ts'),
    import('../reload.ts'),
  ])
  using stop = stopRequests()
  const log = await openLog('agent', options.logLevel)
  const { name, label = [], config, permit, metrics, tunnelListen } = options
  await using running = await startAgent({
    dataDir: options.data ? resolve(options.data) : join(fleetcatHome(), 'agent'),
    log,
    hostLabels: parseLabels(label),
    ...(token !== undefined && { join: token }),
    ...(name !== undefined && { name }),
    ...(config !== undefined && { configFile: config }),
    ...(permit && { permit }),
    ...(metrics !== undefined && { metrics }),
    ...(tunnelListen !== undefined && { tunnelListen }),
  })
  using _ = watchOverAgent(running, log)
  const ended = await Promise.race([stop.asked, running.stopped])
  if (typeof ended === 'object' && ended.why) throw ended.why
  process.exitCode = typeof ended === 'number' ? ended : 0
}
