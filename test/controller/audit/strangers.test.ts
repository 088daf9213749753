import { expect, test } from 'vitest'
import { strangerAt } from '#controller/actor.ts'
import { openBudget } from '#controller/audit/budget.ts'
import { openComings } from '#controller/audit/comings.ts'
import { openLedger } from '#controller/audit/ledger.ts'
import { openMirror } from '#controller/mirror.ts'
import { openPlacement } from '#controller/placement.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import { decodeRecord } from '#telemetry/audit/record.ts'
import { logTo } from '#telemetry/log.ts'
import { until } from '#test/resources/until.ts'

const log = logTo({ write: () => {} }, 'test', 'silent')

test('strangers get many rows at once and few for ever, and what is left out is counted', () => {
  let now = 0
  const budget = openBudget(() => now)
  const takes = (n: number) => Array.from({ length: n }, () => budget.take())
  expect(takes(1_000)).toEqual(Array(1_000).fill(0))
  expect(takes(500)).toEqual(Array(500).fill(undefined))
  now += 3_000
  expect(takes(5)).toEqual([500, 0, 0, undefined, undefined])
  now += 86_400_000
  expect(takes(1_001)).toEqual([2, ...Array(999).fill(0), undefined])
})

test('a flood of strangers leaves the rows of others in the log, and says how much is missing', async () => {
  await using store = await openMemoryStore()
  const ledger = openLedger(store, log)
  const note = { by: strangerAt('192.0.2.1:9'), event: 'enrolment.refused', words: 'refused' }
  for (let i = 0; i < 5_000; i++) ledger.record(note)
  await ledger.write({ by: { kind: 'operator', name: 'ann', peer: '' }, event: 'mine', words: 'mine' })
  const rows = (await store.audit.read(0n, 10_000)).map(({ bytes }) => decodeRecord(bytes))
  expect(rows.length).toBeLessThan(1_100)
  expect(rows.at(-1)).toMatchObject({ event: 'mine', by: 'operator/ann' })
})

test('an agent that stays away for longer than its leases has lapsed, and its return is noted', async () => {
  await using store = await openMemoryStore()
  await using mirror = await openMirror(store, log)
  const leases = { granted() {}, endsBy: () => new Date(Date.now() + 20) }
  const ledger = openLedger(store, log)
  const placement = openPlacement(mirror, () => ({}))
  using comings = openComings({ ledger, leases, placement, mirror, log })
  const events = async () => (await store.audit.read(0n, 100)).map(({ bytes }) => decodeRecord(bytes).event)
  comings.detached('edge-1', '10.0.0.7:1', undefined)
  await until('it has lapsed', async () => (await events()).includes('agent.lapsed'))
  comings.attached('edge-1', '10.0.0.7:1', { version: '1', resumed: false })
  await until('it is back', async () => (await events()).includes('agent.attached'))
  expect(await events()).toEqual(['agent.detached', 'agent.lapsed', 'agent.returned', 'agent.attached'])
})
