import { startFleet } from './fleet.ts'
import type { Peer } from './peers.ts'
import { freePort } from './ports.ts'
import type { Helper } from './processes.ts'
import type { TargetQuestion } from './programs/target.ts'

/** One way from a client to a target: through a relay, or with none between. */
export interface Way extends AsyncDisposable {
  readonly name: string
  /** Where the client connects. */
  readonly port: number
  /** Of the relay's process; none when there is no relay. */
  readonly pid: number | undefined
}

export type Target = Helper<TargetQuestion, number>

/** Opens a way to a target of its own. */
export type OpenWay = (target: Target, serve: TargetQuestion['serve']) => Promise<Way>

export const ours = 'fleetcat'
export const reference = 'socat'

export const noRelay: OpenWay = async (target, serve) => ({
  name: 'no relay',
  port: await target.ask({ serve }),
  pid: undefined,
  async [Symbol.asyncDispose]() {},
})

/** The whole product: controller, agent and relay in the process of `fleetcat up`. */
export const throughFleetcat: OpenWay = async (target, serve) => {
  await using opening = new AsyncDisposableStack()
  const fleet = opening.use(await startFleet('up'))
  const port = await freePort()
  const to = `TCP4:127.0.0.1:${await target.ask({ serve })}`
  await fleet.run('create', 'bench', `TCP4-LISTEN:${port},bind=127.0.0.1,fork`, to, '--wait')
  const held = opening.move()
  return { name: ours, port, pid: fleet.pid, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

export const throughPeer =
  (peer: Peer): OpenWay =>
  async (target, serve) => {
    const port = await freePort()
    const running = await peer.open(port, await target.ask({ serve }))
    return {
      name: peer.name,
      port,
      pid: running.pid,
      [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
    }
  }
