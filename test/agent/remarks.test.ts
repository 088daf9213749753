import { expect, test } from 'vitest'
import { openRemarks } from '#agent/remarks.ts'
import type { Remark } from '#relay/remark.ts'
import { until } from '#test/resources/until.ts'
import { keptLog } from './resources.ts'

const relay = { id: 'r-1', name: 'kept' }
const alert = (text: string): Remark => ({ event: 'serial.alert', subject: 'SERIAL:/dev/ttyUSB0', text })

test('of a device that shouts the first line is told at once, and then the last with their number', async () => {
  let due = 0
  using remarks = openRemarks(keptLog().log, () => void due++, { pauseMs: 20 })
  for (let n = 0; n < 1_000; n++) remarks.heard(relay, alert(`Oops ${n}`))
  expect(remarks.take()).toMatchObject({
    remarks: [{ relayId: 'r-1', text: 'Oops 0', count: 1n }],
    leftOut: 0n,
  })
  await until('the rest is due', () => due === 2)
  expect(remarks.take()).toMatchObject({ remarks: [{ text: 'Oops 999', count: 999n }] })
  expect(remarks.take()).toBeUndefined()
})

test('each of those who take over is told of', () => {
  using remarks = openRemarks(keptLog().log, () => {})
  for (const who of ['ann', 'bob'])
    remarks.heard(relay, { ...alert(`${who} took the writing`), event: 'serial.taken-over' })
  expect(remarks.take()?.remarks.map(({ text }) => text)).toEqual([
    'ann took the writing',
    'bob took the writing',
  ])
})

test('of a long line only the beginning is told', () => {
  using remarks = openRemarks(keptLog().log, () => {})
  remarks.heard(relay, alert(`Oops ${'x'.repeat(100_000)}`))
  expect(remarks.take()?.remarks[0]?.text).toMatch(/^Oops x{995}$/)
})

test('while the controller is away the last of them are kept, and the others counted', () => {
  using remarks = openRemarks(keptLog().log, () => {})
  for (let n = 0; n < 1_000; n++) remarks.heard({ id: `r-${n}`, name: '' }, alert('Oops'))
  const taken = remarks.take()!
  expect(taken.leftOut).toBe(800n)
  expect(taken.remarks.at(-1)).toMatchObject({ relayId: 'r-999' })
})
