// A fleet of real processes in network namespaces, at which everything is thrown that can happen to it, held against a
// model of what may be open. It runs in the namespace of the controller: see main.ts, which starts it.

import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { openFleet } from '../e2e/fleet.ts'
import { operatorIn } from '../faults/operator.ts'
import { type Random, randomFrom } from '../resources/random.ts'
import { openHost } from './host.ts'
import { patient } from './patient.ts'
import { openRounds } from './round.ts'

export interface FleetTorture {
  readonly seed: number
  readonly rounds: number
  /** Of the controller. */
  readonly ip: string
  /** Of the hosts: a namespace each. */
  readonly netns: readonly string[]
}

await torture(JSON.parse(process.argv[2] ?? '{}'))

async function torture({ seed, rounds, ip, netns }: FleetTorture): Promise<void> {
  await using held = new AsyncDisposableStack()
  const fleet = held.use(await openFleet())
  let controller = await fleet.startController({ ip })
  const admin = held.use(await operatorIn(join(fleet.folder, 'home')))
  const ask = patient(admin)
  const over = new AbortController()
  let left = rounds
  let kills = 0

  async function killController({ random }: Random): Promise<void> {
    while (!over.signal.aborted) {
      await delay(5_000 + random() * 15_000, undefined, { signal: over.signal }).catch(() => {})
      if (over.signal.aborted) return
      controller.kill('SIGKILL')
      await controller.ended
      await delay(random() * 3_000)
      controller = await fleet.startController({ ip })
      kills++
    }
  }

  async function tortureHost(index: number): Promise<void> {
    const { folder } = fleet
    const host = held.use(await openHost({ folder, netns: netns[index]!, index, ask }))
    const each = openRounds(host, ask, randomFrom(seed + index + 1))
    while (left > 0 && !over.signal.aborted) {
      const n = rounds - left-- + 1
      try {
        const words = await each.round()
        process.stdout.write(`round ${n} of ${rounds}: ${words}\n`)
      } catch (thrown) {
        over.abort()
        throw new Error(`round ${n} on ${host.name}\n${host.agent.output()}`, { cause: thrown })
      }
    }
  }

  const killing = killController(randomFrom(seed))
  try {
    await Promise.all(netns.map((_, index) => tortureHost(index)))
  } finally {
    over.abort()
    await killing
  }
  process.stdout.write(`${rounds} rounds, ${kills} kills of the controller, and the model held\n`)
}
