import { afterAll, beforeAll, describe, expect } from 'vitest'
import { VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { openController, type TestController } from '../resources/fleet.ts'
import { openFolder } from '../resources/folder.ts'
import { descriptorsOf } from '../resources/kernel-sockets.ts'
import { needing } from '../resources/needs.ts'
import { openPki } from '../resources/pki.ts'
import { isAlive } from '../resources/programs.ts'
import { until } from '../resources/until.ts'
import { connectionsOf, createReady, lift, revokeNow, startHost, type TestHost } from './host.ts'
import { familyIn, kinds, type Setting } from './kinds.ts'

/** What is revoked, and what the receipt then counts. */
const ways = {
  relay: { words: 'the relay', listenersClosed: 1 },
  conn: { words: 'the connection', listenersClosed: 0 },
  source: { words: 'the source', listenersClosed: 0 },
} as const
type Way = keyof typeof ways

/** They come from no network. */
const sourceless = ['Unix socket', 'PTY']
const program = 'program with a double-forked grandchild'

const held = new AsyncDisposableStack()
const settings = new Map<string, Setting>()
let controller: TestController
let host: TestHost
let folder: string

beforeAll(async () => {
  folder = held.use(await openFolder()).path
  const pki = held.use(openPki())
  const { cert, key } = pki.issue({ name: 'localhost', alt: 'IP:127.0.0.1' })
  controller = held.use(await openController())
  for (const [name, open] of Object.entries(kinds)) {
    settings.set(name, held.use(await open({ folder, cert, key })))
  }
  const permit = [...settings.values()].flatMap(setting => setting.permit)
  host = held.use(await startHost(controller, { permit }))
  // With its first program an agent starts a guardian, which then stays.
  const { listen, target, talk } = settings.get(program)!
  const { local } = await createReady(controller, 'first', { listen, targets: [target] })
  await using _client = await talk(local)
  await until('a program runs', () => livingFamily().length === 2)
  await revokeNow(controller, 'relay/first')
}, 60_000)
afterAll(() => held.disposeAsync())

/** What a relay may hold open: the agent's own files come and go. */
const holds = () =>
  descriptorsOf(host.agent.pid).filter(
    text => /^(socket|pipe):|^\/dev\/(pts|ptmx)/.test(text) || text.startsWith(folder),
  )

const livingFamily = () => familyIn(folder).filter(isAlive)

function targetOf(way: Way, relay: string, connection: string): string {
  return { relay: `relay/${relay}`, conn: `conn/${connection}`, source: 'source/127.0.0.1/32' }[way]
}

describe.each(Object.keys(kinds))('%s', kind => {
  for (const way of Object.keys(ways) as Way[]) {
    if (way === 'source' && sourceless.includes(kind)) continue
    needing('socat', 'setsid', 'openssl')(
      `is gone when ${ways[way].words} is revoked, and not a byte follows the receipt`,
      async () => {
        const { listen, target, talk, reached } = settings.get(kind)!
        const [before, after] = [`before ${way};`, `after ${way};`]
        const name = `${kind.replaceAll(/\W/g, '-').toLowerCase()}-${way}`
        const empty = holds()
        const { local } = await createReady(controller, name, { listen, targets: [target] })
        const listening = holds()
        await using client = await talk(local)
        client.say(before)
        await until('it carries', () => reached().includes(before))
        const [connection] = await until('it is listed', async () => {
          const found = await connectionsOf(controller, name)
          return found.length > 0 ? found : undefined
        })
        const members = kind === program ? 2 : 0
        await until('all that it starts has started', () => livingFamily().length === members)
        const family = livingFamily()

        const { id, verdicts } = await revokeNow(controller, targetOf(way, name, connection!.id))
        const kept = way === 'relay' ? empty : listening
        expect(holds().filter(text => !kept.includes(text))).toEqual([])
        expect(family.filter(isAlive)).toEqual([])
        const { listenersClosed } = ways[way]
        expect(verdicts).toMatchObject([
          { kind: VerdictKind.CUT, receipt: { listenersClosed, connectionsCut: 1 } },
        ])

        // A new flow is another conversation, and nobody has shut it out.
        if (!(kind === 'UDP flow' && way === 'conn')) client.say(after)
        if (way === 'source') await lift(controller, id)
        if (way !== 'relay') await revokeNow(controller, `relay/${name}`)
        expect(reached()).not.toContain(after)
      },
      60_000,
    )
  }
})
