import { expect, test } from 'vitest'
import { openHosts } from '#controller/hosts.ts'
import { openLeases } from '#controller/leases.ts'
import { openMirror } from '#controller/mirror.ts'
import { openPlacement } from '#controller/placement.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import { openTables } from '#controller/tables.ts'
import { openViews } from '#controller/views.ts'
import { Revocation } from '#gen/fleetcat/v1/relay.ts'
import { logTo } from '#telemetry/log.ts'

async function listed(count: number, agents: string[]): Promise<string[]> {
  await using store = await openMemoryStore()
  const { revocations } = openTables(store)
  await store.txn(
    [],
    Array.from({ length: count }, (_, i) => {
      const value = { id: `v${i}`, target: 'relay/web', agents, at: new Date(i * 1_000) }
      return revocations.put(value.id, Revocation.fromPartial(value))
    }),
  )
  await using mirror = await openMirror(store, logTo({ write: () => {} }, 'controller', 'fatal'))
  const placement = openPlacement(mirror, () => ({}))
  const views = openViews({
    mirror,
    hosts: openHosts(),
    leases: openLeases(),
    placement,
    unsaved: { has: () => false },
  }).revocations({})
  return views.map(({ revocation }) => revocation!.id)
}

const agents = (count: number) => Array.from({ length: count }, (_, i) => `edge-${i}`)

test.each([
  ['the newest thousand', 3_000, 1, 1_000],
  ['fewer when each has many agents', 100, 1_000, 20],
  ['always one', 2, 30_000, 1],
])('a list of revocations has %s', async (_, count, agentsOfEach, wanted) => {
  const ids = await listed(count, agents(agentsOfEach))
  expect(ids).toHaveLength(wanted)
  expect(ids[0]).toBe(`v${count - 1}`)
})
