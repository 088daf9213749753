import { expect, test } from 'vitest'
import { Receipt, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { create, draft, revoke } from '#test/resources/drafts.ts'
import { enlist, joinAgent, mint, openController } from '#test/resources/fleet.ts'
import { redeem } from '#test/resources/joining.ts'
import { until } from '#test/resources/until.ts'

test('a revoked agent is told, confirms, is sent away, and has no way back but a new token and a new key', async () => {
  await using controller = await openController()
  const spare = await mint(controller, { name: 'edge-1' })
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  await create(controller, draft('web', { agents: [], selector: '!nothing' }))
  await stream.hear('apply')

  const { revocation } = await revoke(controller, 'agent/edge-1', { reason: 'stolen' })
  expect(await stream.hear('revoke')).toMatchObject({
    revocationId: revocation.id,
    target: { $case: 'agent', value: 'edge-1' },
  })
  stream.send({
    $case: 'receipt',
    value: Receipt.fromPartial({ revocationId: revocation.id, at: new Date() }),
  })
  expect(await stream.await('goodbye')).toEqual({ reason: 'removed' })
  expect(await stream.ended).toBeUndefined()
  const { revocations } = await controller.admin.ask(c => c.listRevocations, { id: revocation.id })
  expect(revocations[0]!.verdicts).toMatchObject([{ agent: 'edge-1', kind: VerdictKind.CUT }])

  // The old certificate.
  await using again = agent.attach()
  expect(await again.ended).toMatchObject({ code: 'revoked' })
  // A token that was made for it before.
  await expect(redeem(spare)).rejects.toMatchObject({ code: 'denied', why: 'it was revoked' })
  // A fresh request with the old key, and a new token.
  const fresh = await mint(controller, { name: 'edge-1' })
  const { privateKey } = agent.identity
  await expect(redeem(fresh, { privateKey })).rejects.toMatchObject({ code: 'revoked' })
  // The old key under another name.
  await expect(redeem(await mint(controller, { name: 'edge-9' }), { privateKey })).rejects.toMatchObject({
    code: 'revoked',
  })
  expect(controller.events('alert.dead-key')).toHaveLength(2)

  await controller.restart()
  await using afterRestart = agent.attach()
  expect(await afterRestart.ended).toMatchObject({ code: 'revoked' })
  await expect(redeem(fresh, { privateKey })).rejects.toMatchObject({ code: 'revoked' })

  // A new key with a new token is another host, which happens to have the name.
  const successor = enlist(controller, await redeem(fresh))
  await using welcome = successor.attach()
  await welcome.hear('welcome')
  expect((await welcome.hear('sync')).relays).toMatchObject([{ name: 'web' }])
  await using old = agent.attach()
  expect(await old.ended).toMatchObject({ code: 'revoked' })
})

test('a revoked agent that answers an older order first is still heard out', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  await create(controller, draft('web'))
  const confirm = (revocationId: string) =>
    stream.send({ $case: 'receipt', value: Receipt.fromPartial({ revocationId, at: new Date() }) })
  const relay = await revoke(controller, 'relay/web')
  const own = await revoke(controller, 'agent/edge-1')
  const verdictsOf = async (id: string) =>
    (await controller.admin.ask(c => c.listRevocations, { id })).revocations[0]!.verdicts
  confirm(relay.revocation.id)
  await until(
    'the older order is answered',
    async () => (await verdictsOf(relay.revocation.id))[0]!.kind === VerdictKind.CUT,
  )
  confirm(own.revocation.id)
  expect(await stream.await('goodbye')).toEqual({ reason: 'removed' })
  expect(await verdictsOf(own.revocation.id)).toMatchObject([{ kind: VerdictKind.CUT }])
})

test('a host that joins under the name of one that was revoked out of reach is not told to leave', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await (await agent.settle())[Symbol.asyncDispose]()
  await revoke(controller, 'agent/edge-1')
  const successor = enlist(controller, await redeem(await mint(controller, { name: 'edge-1' })))
  await using stream = successor.attach()
  await stream.hear('welcome')
  expect((await stream.hear('sync')).revocations).toEqual([])
})

test('a key that was let in twice dies with either name', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  const { privateKey } = agent.identity
  const twin = enlist(controller, await redeem(await mint(controller, { name: 'edge-2' }), { privateKey }))
  await revoke(controller, 'agent/edge-1')
  await using stream = twin.attach()
  expect(await stream.ended).toMatchObject({ code: 'revoked' })
})

test('a revoked agent that confirms nothing is shut out all the same', async () => {
  await using controller = await openController({ config: 'front: {first-call: 300ms}' })
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  await revoke(controller, 'agent/edge-1')
  await stream.hear('revoke')
  expect(await stream.ended).toMatchObject({ code: 'revoked' })
})
