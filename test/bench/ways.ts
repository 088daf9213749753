import { type Fleet, startFleet } from './fleet.ts'
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
  /** Of the far end's process, where there are two. */
  readonly far?: number
  /** Of a process between them that joins what both have opened. */
  readonly joining?: number
  /** Ours only. */
  readonly fleet?: Fleet
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
export const throughFleetcat = throughRelay(
  port => `TCP4-LISTEN:${port},bind=127.0.0.1,fork`,
  port => `TCP4:127.0.0.1:${port}`,
)

/** The same with other addresses, and with what its host has to permit for them. */
export function throughRelay(
  listen: (port: number) => string,
  to: (port: number) => string,
  permits: readonly string[] = [],
): OpenWay {
  return async (target, serve) => {
    await using opening = new AsyncDisposableStack()
    const permitted = permits.flatMap(line => ['--permit', line])
    const fleet = opening.use(await startFleet('up', permitted))
    const port = await freePort()
    await fleet.run('create', 'bench', listen(port), to(await target.ask({ serve })), '--wait')
    const held = opening.move()
    return { name: ours, port, pid: fleet.pid, fleet, [Symbol.asyncDispose]: () => held.disposeAsync() }
  }
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
      ...(running.far !== undefined && { far: running.far }),
      [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
    }
  }
