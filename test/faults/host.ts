import { LiftRequest, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { type Relay, RelayState, type Verdict, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { create, draft } from '../resources/drafts.ts'
import { mint, type TestController } from '../resources/fleet.ts'
import { openFolder } from '../resources/folder.ts'
import { launcher, type Program, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'

/** A host of its own: an agent in a process, as the command starts it. */
export interface TestHost extends AsyncDisposable {
  readonly name: string
  readonly agent: Program
  readonly dataDir: string
}

export async function startHost(
  controller: TestController,
  { name = 'edge-1', permit = [] as readonly string[], env = {} as Record<string, string> } = {},
): Promise<TestHost> {
  await using starting = new AsyncDisposableStack()
  const { path: dataDir } = starting.use(await openFolder())
  const token = await mint(controller, { name })
  const lines = permit.flatMap(line => ['--permit', line])
  const agent = starting.use(
    startProgram([launcher, 'agent', '--join', token, '--data', dataDir, ...lines], { env }),
  )
  await agent.says(/"event":"session.attached"/)
  const held = starting.move()
  return { name, agent, dataDir, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** Creates it and waits until every agent says that it is ready; where it listens on the first. */
export async function createReady(
  controller: TestController,
  ...[name, spec]: Parameters<typeof draft>
): Promise<{ relay: Relay; local: string; port: number }> {
  const { relay } = await create(controller, draft(name, spec))
  const local = await untilReady(controller, name)
  return { relay, local, port: Number(local.split(':').at(-1)) }
}

export async function untilReady({ admin }: TestController, name: string): Promise<string> {
  const filter = { selector: '', agent: '', name }
  return await until(
    `relay/${name} is ready`,
    async () => {
      const [view] = (await admin.ask(c => c.listRelays, { filter })).relays
      return view?.state === RelayState.READY ? view.agents[0]?.report?.local[0] || 'nowhere' : undefined
    },
    30_000,
  )
}

/** Revokes it and waits until every agent has its verdict, which is never `pending`. */
export async function revokeNow(
  { admin }: TestController,
  target: string,
): Promise<{ id: string; verdicts: readonly Verdict[] }> {
  const order = RevokeRequest.fromPartial({ target, reason: 'the test says so' })
  const { revocation } = await admin.ask(c => c.revoke, order)
  const id = revocation!.revocation!.id
  const verdicts = await until(
    `${target} is judged`,
    async () => {
      const [view] = (await admin.ask(c => c.listRevocations, { id })).revocations
      const { verdicts } = view!
      return verdicts.every(({ kind }) => kind !== VerdictKind.PENDING) ? verdicts : undefined
    },
    30_000,
  )
  return { id, verdicts }
}

export async function lift({ admin }: TestController, id: string): Promise<void> {
  await admin.ask(c => c.lift, LiftRequest.fromPartial({ id }))
}

export async function connectionsOf({ admin }: TestController, relay: string) {
  const filter = { relay, agent: '', source: '', id: '' }
  const { connections } = await admin.ask(c => c.listConnections, { filter })
  return connections.flatMap(({ connection }) => connection ?? [])
}
