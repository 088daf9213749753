import { connect } from 'node:net'
import { expect, test } from 'vitest'
import type { Program } from '../resources/program.ts'
import { seededRandom } from '../resources/random.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

const rounds = 6
const agents = ['east', 'west']

interface Item {
  readonly metadata: { readonly name: string }
  readonly status: {
    readonly state: string
    readonly agents: readonly { readonly local: readonly string[] }[]
  }
}

function answers(address: string): Promise<boolean> {
  const [host = '', port] = address.split(':')
  return new Promise(resolve => {
    const socket = connect(Number(port), host)
    socket.once('connect', () => socket.destroy())
    socket.once('error', () => socket.destroy())
    socket.once('connect', () => resolve(true))
    socket.once('close', () => resolve(false))
  })
}

test('kill -9 of controller and agents at any moment: what was answered stays, and the fleet converges', async () => {
  const { random, pick, seed } = seededRandom()
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  let controller = await fleet.startController()
  const running = new Map<string, Program>()
  for (const name of agents) running.set(name, await fleet.startAgent(name, { labels: { tried: 'yes' } }))

  /** What was answered, and so must hold; `maybe` was asked for while somebody died. */
  const kept = new Set<string>()
  const ended = new Set<string>()
  const maybe = new Set<string>()

  for (let round = 0; round < rounds; round++) {
    const name = `relay-${round}`
    const revokes = kept.size > 1 && random() < 0.4 ? pick([...kept]) : undefined
    const order = revokes
      ? fleet.cat(['revoke', `relay/${revokes}`, '--timeout', '2s'])
      : fleet.cat([
          'create',
          name,
          '-l',
          'tried=yes',
          'TCP4-LISTEN:0,bind=127.0.0.1,fork',
          `TCP4:127.0.0.1:${target.port}`,
        ])
    const subject = revokes ?? name
    const outcome = order.then(
      () => 'answered' as const,
      (failure: Error) =>
        /exit [67]/.test(failure.message) && revokes ? ('answered' as const) : ('unknown' as const),
    )
    await new Promise(resolve => setTimeout(resolve, random() * 300))
    const victim = random() < 0.6 ? 'controller' : pick(agents)
    const program = victim === 'controller' ? controller : running.get(victim)
    program?.kill('SIGKILL')
    await program?.ended

    if ((await outcome) === 'answered') {
      if (revokes) kept.delete(subject)
      ;(revokes ? ended : kept).add(subject)
    } else {
      kept.delete(subject)
      maybe.add(subject)
    }
    if (victim === 'controller') controller = await fleet.startController()
    else running.set(victim, await fleet.startAgent(victim))
  }

  const items: Item[] = await until(
    `all is ready again (seed ${seed})`,
    async () => {
      const list = await fleet.json(['list'])
      return (
        list.items.every(
          (item: Item) => item.status.state === 'ready' && item.status.agents.length === agents.length,
        ) && list.items
      )
    },
    30_000,
  )
  const names = items.map(item => item.metadata.name)
  for (const name of kept) expect(names, `seed ${seed}: ${name} was answered and is lost`).toContain(name)
  for (const name of ended) expect(names, `seed ${seed}: ${name} was revoked and is back`).not.toContain(name)
  for (const name of names) expect(kept.has(name) || maybe.has(name), `seed ${seed}: ${name}`).toBe(true)
  for (const item of items) {
    for (const { local } of item.status.agents) {
      expect(await answers(local[0] ?? ''), `seed ${seed}: ${item.metadata.name} at ${local}`).toBe(true)
    }
  }
}, 120_000)
