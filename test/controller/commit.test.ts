import { expect, test } from 'vitest'
import { openCommit } from '#controller/commit.ts'
import { openMirror } from '#controller/mirror.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import type { Store } from '#controller/store/store.ts'
import { openTables } from '#controller/tables.ts'
import { logTo } from '#telemetry/log.ts'

test('whoever has written reads their own write, however far the mirror was behind', async () => {
  await using store = await openMemoryStore()
  const gate = Promise.withResolvers<void>()
  const late: Store = {
    ...store,
    async *watch(prefix, from, signal) {
      await gate.promise
      yield* store.watch(prefix, from, signal)
    },
  }
  await using mirror = await openMirror(late, logTo({ write: () => {} }, 'test', 'silent'))
  const tables = openTables(store)
  const commit = openCommit(store, mirror, logTo({ write: () => {} }, 'test', 'silent'))
  const seen = { at: new Date().toISOString(), version: '1', hostLabels: {} }
  const written = commit([tables.seen.at('edge-1', 0n)], [tables.seen.put('edge-1', seen)])
  expect(await Promise.race([written, store.get('seen/none').then(() => 'not yet')])).toBe('not yet')
  gate.resolve()
  expect(await written).toBe(1n)
  expect(mirror.seen.get('edge-1')?.value).toEqual(seen)
  // A condition that does not hold: nothing is done, and that is said.
  expect(await commit([tables.seen.at('edge-1', 0n)], [tables.seen.delete('edge-1')])).toBeUndefined()
  expect(mirror.seen.has('edge-1')).toBe(true)
})
