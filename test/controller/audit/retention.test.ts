import { expect, test } from 'vitest'
import { openLedger } from '#controller/audit/ledger.ts'
import { openRetention } from '#controller/audit/retention.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import { checkChain } from '#telemetry/audit/chain.ts'
import { decodeRecord } from '#telemetry/audit/record.ts'
import { logTo } from '#telemetry/log.ts'

const log = logTo({ write: () => {} }, 'test', 'silent')
const dayMs = 86_400_000

async function open(parts: { keepMs?: number; keepRows?: number; delivered?: () => bigint }) {
  const stack = new AsyncDisposableStack()
  const store = stack.use(await openMemoryStore())
  const ledger = openLedger(store, log)
  const settings = { keepMs: 400 * dayMs, keepRows: 5_000_000, delivered: () => undefined, ...parts }
  const retention = stack.use(openRetention({ rows: store.audit, ledger, log, ...settings }))
  // One row a day.
  const days = (n: number) =>
    Array.from({ length: n }, (_, i) => ({ at: i * dayMs, bytes: Buffer.from('{}') }))
  return {
    store,
    retention,
    fill: (n: number) => store.audit.append(days(n)),
    async rows() {
      const rows = await store.audit.read(0n, 10_000)
      const check = checkChain(await store.audit.ends())
      for (const row of rows) expect(check.add(row)).toBeUndefined()
      expect(check.end()).toBeUndefined()
      return rows
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

test('rows go when they are too old; the chain of the rest holds, and a row says which went', async () => {
  await using log = await open({ keepMs: 30 * dayMs })
  await log.fill(3_000)
  await log.retention.sweep(2_999 * dayMs)
  const rows = await log.rows()
  expect(rows[0]!.seq).toBe(2_970n)
  const { base } = await log.store.audit.ends()
  expect(decodeRecord(rows.at(-1)!.bytes)).toMatchObject({
    event: 'audit.trimmed',
    by: 'local',
    details: { from: '1', to: '2969', hash: Buffer.from(base.hash).toString('hex') },
  })
  await log.retention.sweep(2_999 * dayMs)
  expect(await log.rows()).toEqual(rows)
})

test('the oldest go when there are too many', async () => {
  await using log = await open({ keepRows: 1_000 })
  await log.fill(2_500)
  await log.retention.sweep(0)
  expect((await log.rows())[0]!.seq).toBe(1_501n)
})

test('what a collector lacks is not too old, but it may be too much', async () => {
  await using log = await open({ keepMs: dayMs, keepRows: 1_000, delivered: () => 100n })
  await log.fill(500)
  await log.retention.sweep(10_000 * dayMs)
  expect((await log.rows())[0]!.seq).toBe(101n)
  await log.fill(2_000)
  await log.retention.sweep(10_000 * dayMs)
  expect((await log.rows()).length).toBe(1_001)
})
