import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openMirror } from '#controller/mirror.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import { openSqliteStore } from '#controller/store/sqlite.ts'
import type { Store } from '#controller/store/store.ts'
import { openTables } from '#controller/tables.ts'
import { Relay, Revocation } from '#gen/fleetcat/v1/relay.ts'
import { logTo } from '#telemetry/log.ts'
import { create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { until } from '#test/resources/until.ts'

function openLog() {
  const lines: string[] = []
  const log = logTo({ write: line => void lines.push(line) }, 'test', 'debug')
  return {
    log,
    events: (name: string) => lines.map(line => JSON.parse(line)).filter(({ event }) => event === name),
  }
}

const person = (name: string) => ({
  name,
  role: 'admin' as const,
  keys: [],
  enrolledAt: new Date().toISOString(),
  tokenId: 'local',
})

test('while the history has a gap and all is read anew, nobody becomes unknown', async () => {
  await using store = await openMemoryStore({ history: 10 })
  const tables = openTables(store)
  await store.txn([], [tables.operators.put('ann', person('ann'))])
  const gate = Promise.withResolvers<void>()
  let pages = 0
  const slow: Store = {
    ...store,
    async list(prefix, page) {
      if (++pages > 1) await gate.promise
      return store.list(prefix, page)
    },
  }
  await using mirror = await openMirror(slow, openLog().log)
  const everything: boolean[] = []
  mirror.onChange(change => everything.push(change.everything))
  // All at once: the mirror is left behind further than the history goes.
  const names = Array.from({ length: 40 }, (_, i) => `p${i}`)
  const writes = names.map(name => store.txn([], [tables.operators.put(name, person(name))]))
  const last = (await Promise.all(writes)).at(-1)!
  await until('it reads anew', () => pages === 2)
  expect([...mirror.operators.keys()]).toEqual(['ann'])
  gate.resolve()
  await mirror.caughtUp(last.ok ? last.rev : 0n)
  expect(mirror.operators.size).toBe(41)
  expect(everything).toEqual([true])
})

test('a listener that fails takes nobody else with it, and not the mirror', async () => {
  await using store = await openMemoryStore()
  const tables = openTables(store)
  const { log, events } = openLog()
  await using mirror = await openMirror(store, log)
  const heard: bigint[] = []
  mirror.onChange(() => {
    throw new Error('mine')
  })
  mirror.onChange(({ rev }) => heard.push(rev))
  for (const name of ['a', 'b']) await store.txn([], [tables.operators.put(name, person(name))])
  await mirror.caughtUp(2n)
  expect(heard).toEqual([1n, 2n])
  expect(events('mirror.listener-failed')).toHaveLength(2)
})

test('a row that cannot be read any more is left out, and the next that can be is back', async () => {
  await using store = await openMemoryStore()
  const tables = openTables(store)
  const { log, events } = openLog()
  await using mirror = await openMirror(store, log)
  await store.txn([], [tables.operators.put('ann', person('ann'))])
  await store.txn([], [{ put: { key: 'operator/ann', value: Buffer.from('{') } }])
  await mirror.caughtUp(2n)
  expect(mirror.operators.has('ann')).toBe(false)
  expect(events('store.unreadable')).toMatchObject([{ level: 'error', row: 'operator/ann' }])
  await store.txn([], [tables.operators.put('ann', person('ann'))])
  await mirror.caughtUp(3n)
  expect(mirror.operators.has('ann')).toBe(true)
})

describe('a controller whose store holds rows that make no sense', () => {
  test('starts, names them, and serves all others', async () => {
    await using scratch = await openScratch()
    const dataDir = join(scratch.path, 'data')
    await (await openController({ dataDir }))[Symbol.asyncDispose]()
    {
      await using store = await openSqliteStore(join(dataDir, 'store'))
      const tables = openTables(store)
      const spec = { listen: 'TCP4-LISTEN:1', targets: ['TCP4:127.0.0.1:1'], agents: [], selector: '%%' }
      await store.txn(
        [],
        [
          tables.relays.put('odd', Relay.fromPartial({ name: 'odd', id: 'r-odd', spec })),
          tables.revocations.put(
            'v-odd',
            Revocation.fromPartial({ id: 'v-odd', target: 'x', agents: ['edge-1'] }),
          ),
          { put: { key: 'agent/odd', value: Buffer.from('no') } },
        ],
      )
    }
    await using controller = await openController({ dataDir })
    expect(
      controller
        .events('store.unreadable')
        .map(({ row }) => row)
        .toSorted(),
    ).toEqual(['agent/odd', 'relay/odd', 'revocation/v-odd'])
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    await create(controller, draft('web'))
    await stream.hear('apply')
    const { relays } = await controller.admin.ask(c => c.listRelays, { filter: undefined })
    expect(relays.map(({ relay }) => relay!.name)).toEqual(['web'])
  })
})
