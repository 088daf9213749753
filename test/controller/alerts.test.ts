import { expect, test } from 'vitest'
import { strangerAt } from '#controller/actor.ts'
import { openAlerts } from '#controller/alerts.ts'
import { type Note, say } from '#controller/audit/note.ts'
import { logTo } from '#telemetry/log.ts'
import { until } from '#test/resources/until.ts'

const lie = (fields: object): Note => ({
  by: strangerAt('10.0.0.7:4000'),
  event: 'alert.lie',
  outcome: 'alert',
  fields,
  words: 'it lied',
})

function open(pauseMs?: number) {
  const lines: Record<string, unknown>[] = []
  const log = logTo({ write: line => void lines.push(JSON.parse(line)) }, 'test', 'debug')
  return { lines, alerts: openAlerts(note => say(log, note), { ...(pauseMs && { pauseMs }) }) }
}

test('the first is said at once, and the rest in one line with their count', async () => {
  const { lines, alerts } = open(50)
  using _ = alerts
  for (let i = 0; i < 1_000; i++) alerts.raise('edge-1', lie({ agent: 'edge-1', i }))
  alerts.raise('edge-2', lie({ agent: 'edge-2' }))
  expect(lines).toMatchObject([
    { event: 'alert.lie', agent: 'edge-1', count: 1, i: 0 },
    { event: 'alert.lie', agent: 'edge-2', count: 1 },
  ])
  await until('the rest is said', () => lines.length === 3)
  expect(lines[2]).toMatchObject({ event: 'alert.lie', agent: 'edge-1', count: 999, i: 999 })
})

test('one that comes again after a while is said at once again', async () => {
  const { lines, alerts } = open(1)
  using _ = alerts
  await until('it was quiet in between', () => {
    const before = lines.length
    alerts.raise('edge-1', lie({}))
    return before > 0 && lines.length > before
  })
})

test('thousands of peers are counted together, and nothing is lost at the end', () => {
  const { lines, alerts } = open()
  for (let i = 0; i < 5_000; i++) alerts.raise(`peer-${i}`, lie({}))
  expect(lines.length).toBeLessThan(1_010)
  alerts[Symbol.dispose]()
  expect(lines.reduce((sum, { count }) => sum + Number(count), 0)).toBe(5_000)
})
