import { expect, test } from 'vitest'
import { joinAgent, openController, openOperator } from '#test/resources/fleet.ts'

test('a host joins with a token, attaches, and is listed as ready', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1', labels: { site: 'paris' } })
  await using stream = agent.attach()
  const welcome = await stream.hear('welcome')
  expect(welcome).toMatchObject({ agent: 'edge-1', labels: { site: 'paris' }, resumed: false })
  expect(await stream.hear('sync')).toMatchObject({ relays: [], revocations: [] })
  const { agents } = await controller.admin.ask(c => c.listAgents, { selector: '', name: '' })
  expect(agents).toMatchObject([{ name: 'edge-1', labels: { site: 'paris' } }])
  using viewer = await openOperator(controller, 'viewer')
  expect(await viewer.ask(c => c.whoAmI, {})).toMatchObject({ name: 'test-viewer', role: 'viewer' })
})
