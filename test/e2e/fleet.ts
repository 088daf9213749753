import { join } from 'node:path'
import { openFolder } from '../resources/folder.ts'
import { lastingPort } from '../resources/ports.ts'
import { launcher, type Outcome, type Program, run, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'

/** A whole fleet of real processes, as a user would start them, in a folder of its own. */
export interface Fleet extends AsyncDisposable {
  readonly folder: string
  /** Runs one command of the CLI as the admin. Fails on any other exit code than the one that is expected. */
  cat(args: readonly string[], expected?: number): Promise<Outcome>
  /** The same with `-o json`, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads it as a script would
  json(args: readonly string[]): Promise<any>
  startController(options?: ControllerStart): Promise<Program>
  /** Joins on its first start, and after that uses what it has. */
  startAgent(name: string, options?: AgentStart): Promise<Program>
  controllerAddress(): string
}

export interface ControllerStart {
  readonly netns?: string
  readonly ip?: string
  readonly args?: readonly string[]
  readonly env?: Record<string, string>
}

export interface AgentStart {
  readonly netns?: string
  /** Words before the command, which make it a place of its own: `unshare -m …`. */
  readonly within?: readonly string[]
  readonly labels?: Record<string, string>
  readonly args?: readonly string[]
  readonly env?: Record<string, string>
}

interface AgentItem {
  readonly metadata: { readonly name: string }
  readonly status: { readonly state: string }
}

export async function openFleet({ data }: { data?: string } = {}): Promise<Fleet> {
  const held = new AsyncDisposableStack()
  const { path: folder } = held.use(await openFolder())
  const env = { FLEETCAT_HOME: join(folder, 'home') }
  const joined = new Set<string>()
  let address = ''
  let netns: string | undefined

  async function cat(args: readonly string[], expected = 0): Promise<Outcome> {
    const outcome = await run([launcher, ...args], { env, ...(netns && { netns }) })
    if (outcome.code !== expected) {
      throw new Error(
        `fleetcat ${args.join(' ')}: exit ${outcome.code}, not ${expected}\n${outcome.stdout}${outcome.stderr}`,
      )
    }
    return outcome
  }

  async function json(args: readonly string[]) {
    return JSON.parse((await cat([...args, '-o', 'json'])).stdout)
  }

  async function startController(options: ControllerStart = {}): Promise<Program> {
    netns = options.netns
    const listen = address || `${options.ip ?? '127.0.0.1'}:${await lastingPort()}`
    const command = [
      launcher,
      'controller',
      '--listen',
      listen,
      '--data',
      data ?? join(folder, 'controller'),
      ...(options.args ?? []),
    ]
    const program = held.use(
      startProgram(command, { env: { ...env, ...options.env }, ...(netns && { netns }) }),
    )
    const [, listening = ''] = await program.says(/"listening":"([^"]+)"/)
    address = listening
    await cat(['status', '--wait', '10s'])
    return program
  }

  async function startAgent(name: string, options: AgentStart = {}): Promise<Program> {
    const { within = [], args = [] } = options
    const command = [...within, launcher, 'agent', '--data', join(folder, name), ...args]
    if (!joined.has(name)) {
      const labels = Object.entries(options.labels ?? {}).flatMap(([key, value]) => [
        '--label',
        `${key}=${value}`,
      ])
      const { token } = await json(['token', 'create', 'agent', '--name', name, ...labels])
      command.push('--join', token)
      joined.add(name)
    }
    const place = options.netns ? { netns: options.netns } : {}
    const program = held.use(startProgram(command, { env: { ...env, ...options.env }, ...place }))
    await until(`${name} is ready`, async () => {
      const { items } = await json(['agents'])
      return items.some((agent: AgentItem) => agent.metadata.name === name && agent.status.state === 'ready')
    })
    return program
  }

  return {
    folder,
    cat,
    json,
    startController,
    startAgent,
    controllerAddress: () => address,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
