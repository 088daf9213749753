import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { loadIdentity } from '#identity/files.ts'
import { clientOptions } from '#identity/tls.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'
import { outputOf, start } from './processes.ts'

export const launcher = join(import.meta.dirname, '../../fleetcat')

/** A fleet of its own, started by the real command, in a directory that goes with it. */
export interface Fleet extends AsyncDisposable {
  /** Of the controller's process; with `up` the agent lives in it too. */
  readonly pid: number
  readonly address: string
  /** For children that run the command against this fleet. */
  readonly env: NodeJS.ProcessEnv
  /** Our own line to the controller, with the admin's certificate. */
  readonly operator: OperatorServiceClient
  /** Runs the command. */
  run(...words: string[]): Promise<string>
}

const ready = { up: 'fleetcat is up', controller: 'Let a host in' } as const
const patienceMs = 30_000

export async function startFleet(command: keyof typeof ready, more: readonly string[] = []): Promise<Fleet> {
  await using opening = new AsyncDisposableStack()
  const home = await mkdtemp(join(tmpdir(), 'fleetcat-bench-'))
  opening.defer(() => rm(home, { recursive: true, force: true }))
  const env = { ...process.env, FLEETCAT_HOME: home }
  const isReady = Promise.withResolvers<void>()
  let said = ''
  const patience = setTimeout(() => {
    isReady.reject(new Error(`fleetcat ${command} is not ready: ${said}`))
  }, patienceMs)
  const heard = (words: string) => {
    said = (said + words).slice(-4_000)
    if (said.includes(ready[command])) isReady.resolve()
  }
  const program = opening.use(
    await start(launcher, [command, '--listen', '127.0.0.1:0', ...more], { env, heard }),
  )
  try {
    await isReady.promise
  } finally {
    clearTimeout(patience)
  }
  const { address, name } = await contextIn(home)
  const identity = await loadIdentity(join(home, 'contexts', name))
  const operator = new OperatorServiceClient(address, channelCredentials(clientOptions(identity!)), {
    ...channelOptions,
    'grpc.enable_http_proxy': 0,
  })
  opening.defer(() => operator.close())
  const held = opening.move()
  return {
    pid: program.pid,
    address,
    env,
    operator,
    run: (...words) => outputOf(launcher, words, env),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

async function contextIn(home: string): Promise<{ address: string; name: string }> {
  const { contexts } = JSON.parse(await readFile(join(home, 'config.yaml'), 'utf8'))
  return { address: contexts[0].addresses[0], name: contexts[0].name }
}
