import { expect, test } from 'vitest'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, mint, openController } from '#test/resources/fleet.ts'

test('each change is one line of the log: what, by whom, from where, and why', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  const { relay } = await create(controller, draft('web', {}, { reason: 'a demo' }))
  await create(controller, draft('web'))
  await apply(controller, [draft('web', { targets: ['TCP4:127.0.0.1:81'] })])
  const { revocation } = await revoke(controller, 'relay/web', { dryRun: true })
  expect(controller.events('revoked')).toEqual([])
  await revoke(controller, 'relay/web', { reason: 'enough' })
  await revoke(controller, 'relay/web')
  await mint(controller, { name: 'edge-2' })
  const { tokens } = await controller.admin.ask(c => c.listTokens, {})
  const { id } = tokens.find(({ name }) => name === 'edge-2')!
  await controller.admin.ask(c => c.revokeToken, { id })
  await controller.admin.ask(c => c.revokeToken, { id })

  const who = { by: 'operator/admin', from: expect.stringMatching(/^127\.0\.0\.1:\d+$/) }
  expect(controller.events('relay.created')).toMatchObject([
    { ...who, relay: 'web', id: relay.id, reason: 'a demo' },
  ])
  expect(controller.events('relay.changed')).toMatchObject([{ ...who, relay: 'web', generation: '2' }])
  expect(controller.events('revoked')).toMatchObject([
    { ...who, target: 'relay/web', targetId: revocation.targetId, reason: 'enough', agents: 1 },
  ])
  expect(controller.events('token.created')).toMatchObject([{ ...who }, { ...who, tokenFor: 'agent', id }])
  expect(controller.events('token.revoked')).toMatchObject([{ ...who, id }])
  expect(controller.events('enrolled')).toMatchObject([
    { by: 'agent/edge-1', from: expect.any(String), kind: 'agent', name: 'edge-1' },
  ])
})
