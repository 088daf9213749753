import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { LiftRequest, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { type Verdict, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { sharedNow } from '../faults/traffic.ts'
import type { TestOperator } from '../resources/fleet.ts'
import type { Random } from '../resources/random.ts'
import { until } from '../resources/until.ts'
import { anyFault } from './fault.ts'
import { type Host, patienceMs } from './host.ts'
import {
  forbidden,
  type ModelRelay,
  type ModelTalk,
  type Revoked,
  sources,
  talksOf,
  targetOf,
  unknownListeners,
} from './model.ts'

/** A host that gets no time from the machine cannot close a socket in time; not a byte passes it, all the same. */
const graceMs = 2_000

export interface Rounds {
  /** One revocation, with something wrong at about the same time. Throws when the model is contradicted. */
  round(): Promise<string>
}

export function openRounds(host: Host, ask: TestOperator['ask'], dice: Random): Rounds {
  const { random, pick } = dice
  const { traffic } = host
  let relays: ModelRelay[] = []
  let count = 0

  async function furnish(): Promise<ModelTalk[]> {
    while (relays.length < 2) {
      const n = ++count
      const [port, leaseMs] = [20_000 + n, 5_000 + Math.floor(random() * 4_000)]
      relays.push(await host.create({ name: `${host.name}-r${n}`, port, leaseMs }))
    }
    const talks: ModelTalk[] = []
    for (const relay of relays) {
      for (const from of sources) {
        const id = await until(`${relay.name} carries`, () => traffic.open(relay.port, from), patienceMs)
        talks.push({ id, relay, from, localPort: (await traffic.talks()).get(id)!.localPort })
      }
    }
    return talks
  }

  async function choose(talks: readonly ModelTalk[]): Promise<Revoked> {
    const relay = pick(relays)
    const what = pick(['relay', 'relay', 'relay', 'conn', 'conn', 'source', 'source', 'agent'] as const)
    if (what === 'relay') return { what, relay }
    if (what === 'source') return { what, relay, from: sources[1] }
    if (what === 'agent') return { what, agent: host.name }
    const talk = pick(talks)
    const connectionId = await until(
      'it is listed',
      async () => {
        const filter = { relay: '', agent: host.name, source: `${talk.from}/32`, id: '' }
        const { connections } = await ask(c => c.listConnections, { filter })
        return connections.find(each => each.connection?.source.endsWith(`:${talk.localPort}`))?.connection
          ?.id
      },
      patienceMs,
    )
    return { what, talk, connectionId }
  }

  /** Nothing when there is no such connection any more: what was wrong with its host has ended it. */
  async function order(revoked: Revoked): Promise<string | undefined> {
    const relays = revoked.what === 'source' ? [revoked.relay.name] : []
    const request = { target: targetOf(revoked), relays, requestId: randomUUID(), reason: 'torture' }
    try {
      const { revocation } = await ask(c => c.revoke, RevokeRequest.fromPartial(request))
      return revocation!.revocation!.id
    } catch (thrown) {
      if (revoked.what === 'conn' && RelayError.from(thrown, 'it').code === 'not-found') return undefined
      throw thrown
    }
  }

  async function verdictOn(id: string): Promise<Verdict> {
    const { revocations } = await ask(c => c.listRevocations, { id })
    const verdict = revocations[0]?.verdicts.find(({ agent }) => agent === host.name)
    if (!verdict) throw new Error(`revocation ${id} does not ask ${host.name}`)
    return verdict
  }

  /** The first verdict that is none of waiting, and from when on it has to be true. */
  async function judged(id: string): Promise<{ verdict: Verdict; from: number }> {
    return until(
      `${id} is judged`,
      async () => {
        const verdict = await verdictOn(id)
        if (verdict.kind === VerdictKind.PENDING) return undefined
        const late = verdict.fencedBy ? Math.max(0, verdict.fencedBy.getTime() - Date.now()) : 0
        return { verdict, from: sharedNow() + late }
      },
      patienceMs,
    )
  }

  async function gone(revoked: Revoked, { kind }: Verdict): Promise<void> {
    const left = () => forbidden(revoked, host.sockets())
    if (kind === VerdictKind.CUT && left().length > 0)
      throw new Error(`${targetOf(revoked)} is cut, they say, and ${JSON.stringify(left())} is there`)
    await until(`${targetOf(revoked)} has gone`, () => left().length === 0, graceMs)
  }

  /** Whatever was said after the verdict has not passed. */
  async function silent(revoked: Revoked, talks: readonly ModelTalk[], from: number): Promise<void> {
    const states = await traffic.talks()
    for (const { id, relay } of talksOf(revoked, talks)) {
      const { forwardUntil, backwardUntil } = states.get(id)!
      const late = Math.max(forwardUntil, backwardUntil) - from
      if (late > 0) throw new Error(`${targetOf(revoked)}: bytes passed ${relay.name} ${late} ms too late`)
    }
  }

  async function barred(revoked: Revoked): Promise<void> {
    if (revoked.what === 'conn') return
    const ports = revoked.what === 'agent' ? relays.map(({ port }) => port) : [revoked.relay.port]
    const from = revoked.what === 'source' ? revoked.from : undefined
    for (const port of ports) {
      if ((await traffic.open(port, from)) !== undefined)
        throw new Error(`${targetOf(revoked)} was revoked, and port ${port} lets ${from ?? 'anybody'} in`)
    }
  }

  /** What was not revoked is well again, and the host has confirmed what was. */
  async function converged(revoked: Revoked, id: string | undefined): Promise<void> {
    if (revoked.what === 'agent') {
      await until('the agent has gone', () => forbidden(revoked, host.sockets()).length === 0, patienceMs)
      await barred(revoked)
      for (const { name } of relays) await end(name)
      relays = []
      return host.rejoin()
    }
    if (revoked.what === 'relay') relays = relays.filter(relay => relay !== revoked.relay)
    for (const relay of relays) {
      await host.ready(relay)
      await until(`${relay.name} carries`, () => traffic.open(relay.port), patienceMs)
    }
    if (id === undefined) return
    await until('the host confirms', async () => (await verdictOn(id)).kind === VerdictKind.CUT, patienceMs)
    await barred(revoked)
    if (revoked.what === 'source') await ask(c => c.lift, LiftRequest.fromPartial({ id }))
    const unknown = unknownListeners(relays, host.sockets())
    if (unknown.length > 0) throw new Error(`it listens on ${unknown}, and nobody has asked for that`)
  }

  async function end(name: string): Promise<void> {
    await ask(c => c.revoke, RevokeRequest.fromPartial({ target: `relay/${name}`, requestId: randomUUID() }))
  }

  return {
    async round() {
      const talks = await furnish()
      const revoked = await choose(talks)
      const fault = anyFault(dice)
      const words = `${targetOf(revoked)} while ${fault.words}`
      let healing: Promise<void> | undefined
      try {
        const [strikesAfter, ordersAfter, healsAfter] = [random() * 300, random() * 300, random() * 12_000]
        const ordering = delay(ordersAfter).then(() => order(revoked))
        await delay(strikesAfter).then(() => fault.strike(host))
        // Some heal before there is a verdict, and some long after.
        healing = delay(fault.words === 'all is well' ? 0 : healsAfter).then(() => fault.heal(host))
        const id = await ordering
        const { verdict, from } = id === undefined ? {} : await judged(id)
        if (verdict?.kind === VerdictKind.REFUSED)
          throw new Error(`it was refused: ${JSON.stringify(verdict.problem)}`)
        if (verdict && from !== undefined) {
          await delay(Math.max(0, from - sharedNow()))
          if (fault.stops) await healing
          await gone(revoked, verdict)
        }
        await healing
        await converged(revoked, id)
        if (from !== undefined) await silent(revoked, talks, from)
        await traffic.forget()
        const kind = verdict ? (verdict.kind === VerdictKind.CUT ? 'cut' : 'fenced') : 'it had ended before'
        return `${words}: ${kind}`
      } catch (thrown) {
        await healing?.catch(() => {})
        throw new Error(words, { cause: thrown })
      }
    },
  }
}
