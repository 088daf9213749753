import { describe, expect, test } from 'vitest'
import { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { create, draft } from '#test/resources/drafts.ts'
import { joinAgent, mint, openController, type TestController } from '#test/resources/fleet.ts'
import { toDuration } from '#wire/duration.ts'

async function revoke({ admin }: TestController, request: Partial<RevokeRequest>) {
  const answer = await admin.ask(c => c.revoke, RevokeRequest.fromPartial(request))
  return { ...answer, made: answer.revocation!.revocation! }
}

const lift = ({ admin }: TestController, id: string) => admin.ask(c => c.lift, { id, reason: '' })

describe('a source', () => {
  test('is an order to every agent that runs a relay, and stays in the list of bans', async () => {
    await using controller = await openController()
    await using edge = await (await joinAgent(controller, { name: 'edge-1' })).settle()
    await create(controller, draft('web'))
    const { made } = await revoke(controller, { target: 'source/10.0.0.0/8', reason: 'a worm' })
    expect(made).toMatchObject({ target: 'source/10.0.0.0/8', agents: ['edge-1'] })
    const ban = { revocationId: made.id, cidr: '10.0.0.0/8', relayIds: [], except: [] }
    const order = await edge.await('revoke')
    expect(order).toMatchObject({ revocationId: made.id, target: { $case: 'source', value: ban } })
    expect((await edge.await('bans')).bans).toEqual([ban])
  })

  test('that is shut out for a while stays out for ever when that is asked for', async () => {
    await using controller = await openController()
    const target = 'source/192.0.2.0/24'
    const first = await revoke(controller, { target, lock: toDuration(60_000), reason: 'a scan' })
    const dry = await revoke(controller, { target, dryRun: true })
    expect(dry).toMatchObject({ unchanged: false, made: { id: first.made.id, lockUntil: undefined } })
    const longer = await revoke(controller, { target })
    expect(longer).toMatchObject({ unchanged: false, made: { id: first.made.id, reason: 'a scan' } })
    expect(longer.made.lockUntil).toBeUndefined()
    expect(await revoke(controller, { target, lock: toDuration(60_000) })).toMatchObject({ unchanged: true })
    expect(await revoke(controller, { target, dryRun: true })).toMatchObject({ unchanged: true })
  })

  test('is shut out of agents that come later too', async () => {
    await using controller = await openController()
    const { made } = await revoke(controller, { target: 'source/192.0.2.7' })
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = edge.attach()
    await stream.hear('welcome')
    expect((await stream.hear('sync')).bans).toMatchObject([{ revocationId: made.id, cidr: '192.0.2.7/32' }])
  })

  test('of some relays concerns their agents only', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await joinAgent(controller, { name: 'edge-2' })
    const { relay } = await create(controller, draft('web', { agents: ['edge-1'] }))
    await create(controller, draft('other', { agents: ['edge-2'] }))
    const { made } = await revoke(controller, { target: 'source/10.0.0.0/8', relays: ['web'] })
    expect(made).toMatchObject({ agents: ['edge-1'], relayIds: [relay.id] })
    await expect(revoke(controller, { target: 'source/10.0.0.0/8', relays: ['wep'] })).rejects.toMatchObject({
      code: 'not-found',
      fix: expect.stringContaining('relay/web'),
    })
  })

  test.each([
    ['source/10.0.0.1/8', [], 'usage', '10.0.0.0/8'],
    ['source/nonsense', [], 'usage', 'CIDR'],
    ['source/10.0.0.0/8', ['192.168.0.0/16'], 'usage', 'inside'],
    ['source/10.0.0.0/8', ['10.0.0.0/8'], 'usage', 'inside'],
    ['relay/web', ['10.0.0.0/8'], 'usage', 'source'],
  ])('as %s except %j is refused with what to write', async (target, except, code, says) => {
    await using controller = await openController()
    const refused = revoke(controller, { target, except })
    await expect(refused).rejects.toMatchObject({ code })
    await expect(refused).rejects.toThrowError(says)
  })

  test('that is shut out already changes nothing, unless for longer', async () => {
    await using controller = await openController()
    const first = await revoke(controller, { target: 'source/10.0.0.0/8', lock: toDuration(60_000) })
    const shorter = await revoke(controller, { target: 'source/10.0.0.0/8', lock: toDuration(30_000) })
    expect(shorter).toMatchObject({ unchanged: true, made: { id: first.made.id } })
    expect(shorter.made.lockUntil).toEqual(first.made.lockUntil)
    const longer = await revoke(controller, { target: 'source/10.0.0.0/8', lock: toDuration(600_000) })
    expect(longer).toMatchObject({ unchanged: false, made: { id: first.made.id } })
    expect(longer.made.lockUntil!.getTime()).toBeGreaterThan(first.made.lockUntil!.getTime())
    const other = await revoke(controller, { target: 'source/10.0.0.0/8', except: ['10.1.0.0/16'] })
    expect(other.made.id).not.toBe(first.made.id)
  })

  test('is let in again when it is lifted, and when its time is over', async () => {
    await using controller = await openController()
    await using edge = await (await joinAgent(controller, { name: 'edge-1' })).settle()
    const { made } = await revoke(controller, { target: 'source/10.0.0.0/8' })
    expect((await edge.await('bans')).bans).toHaveLength(1)
    expect(await lift(controller, made.id)).toMatchObject({
      unchanged: false,
      revocation: { revocation: { liftedBy: 'admin' } },
    })
    expect((await edge.await('bans')).bans).toEqual([])
    expect(await lift(controller, made.id)).toMatchObject({ unchanged: true })

    await revoke(controller, { target: 'source/10.0.0.0/8', lock: toDuration(1_000) })
    expect((await edge.await('bans')).bans).toHaveLength(1)
    expect((await edge.await('bans')).bans).toEqual([])
  })
})

describe('a lock', () => {
  const lock = toDuration(3_600_000)

  test('keeps the name of a relay shut, by whatever way', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await joinAgent(controller, { name: 'edge-2' })
    await create(controller, draft('web', { agents: ['edge-1'] }))
    const { made } = await revoke(controller, { target: 'relay/web', lock, reason: 'leaks' })
    const refusal = { code: 'revoked', fix: expect.stringContaining(`lift ${made.id}`) }
    await expect(create(controller, draft('web', { agents: ['edge-1'] }))).rejects.toMatchObject(refusal)
    await expect(create(controller, draft('web', { agents: ['edge-2'] }))).rejects.toMatchObject(refusal)
    await controller.restart()
    await expect(create(controller, draft('web', { agents: ['edge-1'] }))).rejects.toMatchObject(refusal)
    await lift(controller, made.id)
    await create(controller, draft('web', { agents: ['edge-1'] }))
  })

  test('keeps an agent out: no token is made for it, and none serves', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    const before = await mint(controller, { kind: 'agent', uses: 2 })
    const { made } = await revoke(controller, { target: 'agent/edge-1', lock })
    await expect(mint(controller, { kind: 'agent', name: 'edge-1' })).rejects.toMatchObject({
      code: 'revoked',
    })
    expect(before).toBeTruthy()
    await lift(controller, made.id)
    await mint(controller, { kind: 'agent', name: 'edge-1' })
  })

  test('can be put on what was revoked before', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web'))
    const first = await revoke(controller, { target: 'relay/web' })
    const locked = await revoke(controller, { target: 'relay/web', lock })
    expect(locked).toMatchObject({ unchanged: false, made: { id: first.made.id } })
    await expect(create(controller, draft('web'))).rejects.toMatchObject({ code: 'revoked' })
  })

  test.each([
    ['conn/c-1', 3_600_000, 'source'],
    ['relay/web', 1, '24h'],
    ['relay/web', -5_000, '24h'],
  ])('on %s of %d ms is refused with what to write', async (target, ms, says) => {
    await using controller = await openController()
    const refused = revoke(controller, { target, lock: toDuration(ms) })
    await expect(refused).rejects.toMatchObject({ code: 'usage' })
    await expect(refused).rejects.toThrowError(says)
  })

  test('that is not there cannot be lifted', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web'))
    const { made } = await revoke(controller, { target: 'relay/web' })
    await expect(lift(controller, made.id)).rejects.toMatchObject({ code: 'conflict' })
    await expect(lift(controller, 'v-none')).rejects.toMatchObject({ code: 'not-found' })
  })
})
