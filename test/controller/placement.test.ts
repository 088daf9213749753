import { expect, test } from 'vitest'
import { openMirror } from '#controller/mirror.ts'
import { openPlacement } from '#controller/placement.ts'
import { parseSelector } from '#controller/selector.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import { openTables } from '#controller/tables.ts'
import { Relay } from '#gen/fleetcat/v1/relay.ts'
import { logTo } from '#telemetry/log.ts'
import { seededRandom } from '#test/resources/random.ts'

async function open(stack: AsyncDisposableStack) {
  const store = stack.use(await openMemoryStore())
  const tables = openTables(store)
  const log = logTo({ write: () => {} }, 'controller', 'fatal')
  const mirror = stack.use(await openMirror(store, log))
  const placement = openPlacement(mirror, () => ({ os: 'linux' }))
  const agent = (name: string, labels: Record<string, string>, revoked = false) =>
    tables.agents.put(name, {
      name,
      labels,
      keys: [],
      enrolledAt: new Date(0).toISOString(),
      tokenId: 't',
      ...(revoked && { revoked: { at: new Date(0).toISOString(), by: 'x', reason: '' } }),
    })
  const relay = (name: string, id: string, spec: { agents?: string[]; selector?: string }) =>
    tables.relays.put(name, Relay.fromPartial({ name, id, generation: 1n, spec }))
  async function write(ops: Parameters<typeof store.txn>[1]) {
    const result = await store.txn([], ops)
    if (result.ok) await mirror.caughtUp(result.rev)
  }
  return { mirror, placement, tables, agent, relay, write }
}

test('after any change each relay is where its spec says, whichever way it is asked', async () => {
  await using stack = new AsyncDisposableStack()
  const { mirror, placement, tables, agent, relay, write } = await open(stack)
  const { pick } = seededRandom()
  const coin = () => pick([true, false])
  const names = ['a', 'b', 'c', 'd', 'e']
  const selectors = ['site=x', 'site!=x', 'role in (db,web)', 'host.os=linux', '!role']
  for (let round = 0; round < 300; round++) {
    const name = pick(names)
    const labels = { ...(coin() && { site: pick(['x', 'y']) }), ...(coin() && { role: pick(['db', 'web']) }) }
    const spec = coin() ? { selector: pick(selectors) } : { agents: [pick(names), pick(names)] }
    const id = `${name}-${pick([1, 2, 3])}`
    await write([
      pick([
        () => agent(name, labels),
        () => agent(name, labels, true),
        () => tables.agents.delete(name),
        () => relay(name, id, spec),
        () => tables.relays.delete(name),
      ])(),
    ])
    const wanted = [...mirror.relays.values()].flatMap(({ value: { id, spec } }) =>
      [...mirror.agents.values()]
        .filter(({ value: { name, labels, revoked } }) => {
          if (revoked) return false
          if (spec!.agents.length > 0) return spec!.agents.includes(name)
          return parseSelector(spec!.selector).matches({ 'host.os': 'linux', ...labels })
        })
        .map(({ value }) => `${id} on ${value.name}`),
    )
    const relays = [...mirror.relays.values()].map(({ value }) => value)
    const asked = {
      byRelay: relays.flatMap(relay => placement.agentsOf(relay).map(agent => `${relay.id} on ${agent}`)),
      byAgent: names.flatMap(name => placement.desiredOf(name).map(({ relayId }) => `${relayId} on ${name}`)),
      byBoth: relays.flatMap(relay =>
        names.filter(name => placement.runsOn(relay, name)).map(name => `${relay.id} on ${name}`),
      ),
    }
    for (const found of Object.values(asked)) expect(found.sort()).toEqual(wanted.sort())
    expect(names.reduce((sum, name) => sum + placement.countOn(name), 0)).toBe(wanted.length)
  }
})

test('a relay that is only being thought of is placed too', async () => {
  await using stack = new AsyncDisposableStack()
  const { placement, agent, write } = await open(stack)
  await write([agent('a', { site: 'x' }), agent('b', {})])
  expect(placement.agentsOf(Relay.fromPartial({ id: 'r', spec: { selector: 'site=x' } }))).toEqual(['a'])
})
