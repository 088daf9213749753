import { connect } from 'node:net'
import { join } from 'node:path'
import { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { RelayState, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { openFleet } from '../e2e/fleet.ts'
import { create, draft } from '../resources/drafts.ts'
import type { TestOperator } from '../resources/fleet.ts'
import { until } from '../resources/until.ts'
import { operatorIn } from './operator.ts'

/** A fleet whose controller is killed at the very moment at which it has answered. */
export interface Answered extends AsyncDisposable {
  readonly rounds: number
  /** Makes relays, revokes one, kills, starts anew, and throws when the one is there or another is not. */
  round(random: () => number): Promise<void>
}

const patience = 30_000
const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'

export async function openAnswered(): Promise<Answered> {
  await using opening = new AsyncDisposableStack()
  const fleet = opening.use(await openFleet())
  let controller = await fleet.startController()
  await fleet.startAgent('edge-1')
  const admin: TestOperator = opening.use(await operatorIn(join(fleet.folder, 'home')))
  const kept = new Set<string>()
  const revoked = new Map<string, string>()
  let rounds = 0
  let named = 0

  const relays = async () => {
    const { relays } = await admin.ask(c => c.listRelays, { filter: { selector: '', agent: '', name: '' } })
    return relays.map(({ relay, state, agents }) => ({
      name: relay!.name,
      isReady: state === RelayState.READY,
      port: Number(agents[0]?.report?.local[0]?.split(':').at(-1) ?? 0),
    }))
  }

  async function make(): Promise<string> {
    const name = `relay-${++named}`
    await create({ admin }, draft(name, { listen, targets: ['ECHO'] }))
    kept.add(name)
    return name
  }

  async function ready(): Promise<Map<string, number>> {
    return until(
      'all that was kept is ready',
      async () => {
        const all = await relays()
        const names = all.map(({ name }) => name).sort()
        if (names.join() !== [...kept].sort().join()) throw new Error(`there are ${names}, not ${[...kept]}`)
        return all.every(({ isReady }) => isReady) && new Map(all.map(({ name, port }) => [name, port]))
      },
      patience,
    ) as Promise<Map<string, number>>
  }

  async function allCut(): Promise<void> {
    await until(
      'every receipt is in',
      async () => {
        const { revocations } = await admin.ask(c => c.listRevocations, { id: '' })
        const known = new Map(revocations.map(view => [view.revocation!.id, view]))
        return [...revoked.keys()].every(id => {
          const view = known.get(id)
          if (!view) throw new Error(`revocation ${id} was answered, and is lost`)
          return view.verdicts.every(({ kind }) => kind === VerdictKind.CUT)
        })
      },
      patience,
    )
  }

  const held = opening.move()
  return {
    get rounds() {
      return rounds
    },
    async round(random) {
      while (kept.size < 3) await make()
      const ports = await ready()
      const name = [...kept][Math.floor(random() * kept.size)]!
      const target = `relay/${name}`
      const { revocation } = await admin.ask(c => c.revoke, RevokeRequest.fromPartial({ target }))
      controller.kill('SIGKILL')
      await controller.ended
      kept.delete(name)
      revoked.set(revocation!.revocation!.id, name)
      controller = await fleet.startController()
      await ready()
      await allCut()
      if (await listens(ports.get(name)!)) throw new Error(`${name} was revoked, and its port is open`)
      revoked.clear()
      rounds++
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
