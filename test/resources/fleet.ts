import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ControllerOptions, type RunningController, startController } from '#controller/main.ts'
import { CreateTokenRequest, OperatorServiceClient } from '#gen/fleetcat/v1/operator.ts'
import { createCsr } from '#identity/csr.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import { type LogLevel, logTo } from '#telemetry/log.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'
import { type Newcomer, redeem } from './joining.ts'
import { type ScriptedAgent, scriptedAgent } from './scripted-agent.ts'

/** A whole controller of a test: real TLS, real gRPC, a real database in a directory of its own. */
export interface TestController extends AsyncDisposable {
  readonly running: RunningController
  readonly dataDir: string
  /** `127.0.0.1:PORT`. */
  readonly address: string
  readonly port: number
  /** The operator `admin`, whom the controller knows since it started. */
  readonly admin: TestOperator
  /** Every line that was logged, as written. */
  readonly lines: readonly string[]
  /** The events of the lines. */
  events(name: string): Record<string, unknown>[]
  /** Stops it, and starts it anew on the same directory and the same port. */
  restart(): Promise<void>
}

export interface TestControllerOptions
  extends Partial<Pick<ControllerOptions, 'advertise' | 'metrics' | 'dataDir'>> {
  /** The text of a configuration file. */
  readonly config?: string
  readonly logLevel?: LogLevel
}

export async function openController(options: TestControllerOptions = {}): Promise<TestController> {
  const scratch = await mkdtemp(join(tmpdir(), 'fleetcat-test-'))
  const dataDir = options.dataDir ?? join(scratch, 'data')
  const lines: string[] = []
  const log = logTo({ write: line => void lines.push(line) }, 'controller', options.logLevel ?? 'debug')
  const configFile = options.config === undefined ? undefined : join(scratch, 'controller.yaml')
  if (configFile) await writeFile(configFile, options.config as string)
  const { advertise, metrics } = options

  const start = (listen: string) =>
    startController({
      listen,
      dataDir,
      log,
      ...(advertise && { advertise }),
      ...(metrics && { metrics }),
      ...(configFile && { configFile }),
    })
  let running: RunningController
  try {
    running = await start('127.0.0.1:0')
  } catch (thrown) {
    await rm(scratch, { recursive: true })
    throw thrown
  }
  const admin = await openAdmin(running.listening, csr =>
    running.issueLocally({ kind: 'operator', name: 'admin', role: 'admin', csr }),
  )

  return {
    get running() {
      return running
    },
    dataDir,
    address: running.listening,
    port: Number(running.listening.split(':').at(-1)),
    admin,
    lines,
    events: name => lines.map(line => JSON.parse(line)).filter(line => line.event === name),
    async restart() {
      await running.close()
      running = await start(running.listening)
    },
    async [Symbol.asyncDispose]() {
      admin[Symbol.dispose]()
      await running.close()
      await rm(scratch, { recursive: true, force: true })
    },
  }
}

/** A client with the certificate of an operator. */
export interface TestOperator extends Disposable {
  readonly identity: TlsIdentity
  readonly client: OperatorServiceClient
  /** One call: `ask(client => client.listRelays, {…})`. Rejects with a RelayError. */
  ask<Request, Response>(
    method: (client: OperatorServiceClient) => Parameters<typeof unary<Request, Response>>[1],
    request: Request,
  ): Promise<Response>
}

export function operatorWith(address: string, identity: TlsIdentity): TestOperator {
  const client = new OperatorServiceClient(
    address,
    channelCredentials(clientOptions(identity)),
    channelOptions,
  )
  return {
    identity,
    client,
    ask: (method, request) =>
      unary(client, method(client), request, { what: 'the test asks', timeoutMs: 5_000 }),
    [Symbol.dispose]: () => client.close(),
  }
}

/** The admin of a controller that is asked for a certificate by `issue`. */
export async function openAdmin(
  address: string,
  issue: (csr: Buffer) => Promise<{ certificatePem: string; authorityPem: string }>,
): Promise<TestOperator> {
  const key = await generateKey()
  const granted = await issue(await createCsr(key))
  return operatorWith(address, {
    key: keyToPem(key),
    cert: granted.certificatePem,
    ca: granted.authorityPem,
  })
}

/** The text of a join token that the admin made. */
export async function mint(
  { admin }: Pick<TestController, 'admin'>,
  order: Parameters<typeof CreateTokenRequest.fromPartial>[0],
): Promise<string> {
  const request = CreateTokenRequest.fromPartial({ kind: 'agent', ...order })
  return (await admin.ask(client => client.createToken, request)).token
}

/** An operator of this role, who logged in with a token. */
export async function openOperator(
  controller: TestController,
  role: 'viewer' | 'operator' | 'admin',
  name = `test-${role}`,
): Promise<TestOperator> {
  const token = await mint(controller, { kind: 'operator', name, role })
  return operatorWith(controller.address, await redeem(token))
}

/** A host that joined with a token of its own; what it says on its stream is the test's to write. */
export async function joinAgent(
  controller: Pick<TestController, 'address' | 'admin'>,
  { name, labels = {} }: { name: string; labels?: Record<string, string> },
): Promise<ScriptedAgent> {
  return enlist(controller, await redeem(await mint(controller, { name, labels })))
}

export function enlist({ address }: Pick<TestController, 'address'>, newcomer: Newcomer): ScriptedAgent {
  return scriptedAgent(address, newcomer)
}
