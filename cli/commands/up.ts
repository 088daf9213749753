import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { RunningAgent } from '#agent/main.ts'
import type { RunningController } from '#controller/main.ts'
import { loadIdentity } from '#identity/files.ts'
import type { RelayError } from '#relay/errors.ts'
import { collect, define } from '../command.ts'
import { note } from '../failure.ts'
import { fleetcatHome } from '../home.ts'
import { reachable } from '../reachable.ts'
import { type ServiceOptions, withService } from '../service-options.ts'
import { stopRequests } from '../signals.ts'

interface Options extends ServiceOptions {
  readonly listen: string
  readonly permit?: string[]
}

/** The agent that runs beside the controller. */
const localAgent = 'local'

export function command(): Command {
  return withService(
    define(
      'up',
      'A whole fleet in one process: a controller, an agent called "local", and you as its admin.',
      ['fleetcat up', "fleetcat up --permit 'TCP-LISTEN:0.0.0.0:8000-8999' --log-level warn"],
    )
      .option('--listen <host:port>', 'the controller’s one port', '127.0.0.1:7443')
      .option('--permit <pattern>', 'one more address pattern that the agent permits (repeatable)', collect),
    '$FLEETCAT_HOME',
  ).action(up)
}

async function up(options: Options): Promise<void> {
  const [{ startController }, { startAgent }, { keepAdminContext }, { openLog }, { watchOverAgent }] =
    await Promise.all([
      import('#controller/main.ts'),
      import('#agent/main.ts'),
      import('../admin-context.ts'),
      import('#telemetry/log.ts'),
      import('../reload.ts'),
    ])
  using stop = stopRequests()
  const log = await openLog('up', options.logLevel)
  const data = options.data ? resolve(options.data) : fleetcatHome()
  const { listen, metrics, permit } = options
  await using controller = await startController({
    listen,
    dataDir: join(data, 'controller'),
    log: log.child({ part: 'controller' }),
    ...(metrics && { metrics }),
  })
  const token = await tokenIfNeeded(controller, join(data, 'agent'))
  await using agent = await startAgent({
    dataDir: join(data, 'agent'),
    name: localAgent,
    controller: [reachable(controller.listening)],
    log: log.child({ part: 'agent' }),
    ...(token && { join: token }),
    ...(permit && { permit }),
  })
  await using admin = await keepAdminContext(controller, { localAgent, log })
  using _ = watchOverAgent(agent, log)
  const end = Promise.race([stop.asked, controller.stopped, agentEnd(agent, join(data, 'agent'))])
  const ready = agent.ready.then(
    () => 'ready' as const,
    () => end,
  )
  if ((await Promise.race([end, ready])) === 'ready') welcome(controller.listening, admin.context.operator)
  const ended = await end
  if (ended instanceof Error) throw ended
  if (typeof ended === 'object' && ended.why) throw ended.why
  process.exitCode = typeof ended === 'number' ? ended : 0
}

/**
 * Why the agent ended, if that is to end the whole. One that was revoked is gone on purpose, and must not take the
 * controller with it: nobody could let it in again.
 */
async function agentEnd(agent: RunningAgent, agentDir: string): Promise<{ why: RelayError | undefined }> {
  const ended = await agent.stopped
  if (ended.why?.code !== 'revoked') return ended
  note(`agent "${localAgent}" has stopped: ${ended.why.why}. The controller goes on.`)
  note(`To let it in again, remove ${join(agentDir, 'identity')} and start \`fleetcat up\` anew.`)
  return new Promise(() => {})
}

/** A token that nobody needs would stay in the list of tokens for a while, at each start. */
async function tokenIfNeeded(controller: RunningController, agentDir: string): Promise<string | undefined> {
  const present = await loadIdentity(join(agentDir, 'identity')).catch(() => undefined)
  const ours = present?.identity.cluster === controller.cluster
  if (present && ours && present.certificate.validToDate.getTime() > Date.now()) return undefined
  return controller.mintToken({ kind: 'agent', name: localAgent, labels: { name: localAgent } })
}

function welcome(listening: string, operator: string): void {
  // As it was typed: after a clone it is not on the PATH.
  const fleetcat = process.env.FLEETCAT_COMMAND ?? 'fleetcat'
  note(`fleetcat is up at ${listening}: agent "${localAgent}" is ready, and you are its admin, ${operator}.`)
  note('Try, in another terminal:')
  note(`  ${fleetcat} create web TCP4-LISTEN:8080,bind=127.0.0.1,fork TCP4:example.com:80`)
  note('  curl -H "Host: example.com" http://127.0.0.1:8080/')
  note(`  ${fleetcat} connections -w`)
  note(`  ${fleetcat} revoke relay/web`)
}
