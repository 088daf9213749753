import { expect, test } from 'vitest'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { until } from '#test/resources/until.ts'

test.each([
  ['epoch', { epoch: 7n }],
  ['revision', { epoch: 1n, seenRevision: 1_000_000n }],
])('an agent that has seen a higher %s raises an alert: this controller may be a copy', async (_, hello) => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1' })
  await using stream = edge.attach(hello)
  await stream.hear('welcome')
  await until('the alert is raised', () => controller.events('alert.older-controller').length === 1)
  expect(controller.events('alert.older-controller')[0]).toMatchObject({ agent: 'edge-1' })
})
