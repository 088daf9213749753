import { expect, it } from 'vitest'
import { openMemoryStore } from '#controller/store/memory.ts'
import { table } from '#controller/store/table.ts'

const codec = {
  encode: (value: { port: number }) => Buffer.from(JSON.stringify(value)),
  decode: (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString()) as { port: number },
}

it('reads, lists and watches values by their names', async () => {
  await using store = await openMemoryStore()
  const relays = table(store, 'relays/', codec)
  await store.txn([relays.at('web', 0n)], [relays.put('web', { port: 80 }), relays.put('db', { port: 5432 })])
  await store.txn([], [{ put: { key: 'other/x', value: Buffer.from('no JSON') } }])
  const web = { name: 'web', value: { port: 80 }, createRev: 1n, modRev: 1n }
  const db = { name: 'db', value: { port: 5432 }, createRev: 1n, modRev: 1n }
  expect(await relays.get('web')).toEqual({ row: web, rev: 2n })
  expect(await relays.get('nothing')).toEqual({ rev: 2n })
  expect(await relays.list()).toEqual({ rows: [db, web], rev: 2n, more: false })
  expect(await relays.list({ after: 'db', limit: 1 })).toEqual({ rows: [web], rev: 2n, more: false })

  await store.txn([relays.at('web', 1n)], [relays.delete('web')])
  const seen: unknown[] = []
  for await (const revision of relays.watch(0n, AbortSignal.timeout(10_000))) {
    seen.push(revision)
    if (revision.rev === 3n) break
  }
  expect(seen).toEqual([
    { rev: 1n, events: [{ put: web }, { put: db }] },
    { rev: 3n, events: [{ delete: { name: 'web' } }] },
  ])
})

it('names the key of a value that does not decode', async () => {
  await using store = await openMemoryStore()
  await store.txn([], [{ put: { key: 'relays/web', value: Buffer.from('{') } }])
  await expect(table(store, 'relays/', codec).get('web')).rejects.toMatchObject({
    code: 'internal',
    what: 'The stored value at relays/web cannot be read',
  })
})
