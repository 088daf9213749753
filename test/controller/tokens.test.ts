import { describe, expect, test } from 'vitest'
import { createCsr } from '#identity/csr.ts'
import { generateKey } from '#identity/keys.ts'
import { parseToken } from '#identity/token.ts'
import {
  enlist,
  joinAgent,
  mint,
  openController,
  operatorWith,
  type TestController,
} from '#test/resources/fleet.ts'
import { redeem } from '#test/resources/joining.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'

const denied = (why: string | RegExp) => ({ code: 'denied', why: expect.stringMatching(why) })

async function tokens({ admin }: TestController) {
  return (await admin.ask(c => c.listTokens, {})).tokens
}

test('of 50 who redeem one token at once, exactly one is let in', async () => {
  await using controller = await openController()
  const token = await mint(controller, { name: 'edge-1' })
  const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => redeem(token)))
  const winners = outcomes.filter(outcome => outcome.status === 'fulfilled')
  expect(winners).toHaveLength(1)
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(denied('it has been used'))
  }
  expect(await tokens(controller)).toMatchObject([{ used: 1, uses: 1 }])
})

describe('an answer that was lost', () => {
  test('is given again to the same key, which counts once', async () => {
    await using controller = await openController()
    const token = await mint(controller, { name: 'edge-1' })
    const privateKey = await generateKey()
    const first = await redeem(token, { privateKey })
    const second = await redeem(token, { privateKey })
    expect(second.name).toBe(first.name)
    expect(await tokens(controller)).toMatchObject([{ used: 1 }])
    for (const identity of [first, second]) {
      await using stream = enlist(controller, identity).attach()
      await stream.hear('welcome')
    }
    await expect(redeem(token)).rejects.toMatchObject(denied('it has been used'))
    await controller.restart()
    await redeem(token, { privateKey })
  })

  test('is not given to the same key under another name', async () => {
    await using controller = await openController()
    const token = await mint(controller, {})
    const privateKey = await generateKey()
    await redeem(token, { privateKey, name: 'a' })
    await redeem(token, { privateKey, name: 'a' })
    await expect(redeem(token, { privateKey, name: 'b' })).rejects.toMatchObject(denied('it has been used'))
  })

  test('is not given any more once a later token was used for the name, or the token was revoked', async () => {
    await using controller = await openController()
    const token = await mint(controller, { name: 'edge-1' })
    const privateKey = await generateKey()
    await redeem(token, { privateKey })
    await redeem(await mint(controller, { name: 'edge-1' }))
    await expect(redeem(token, { privateKey })).rejects.toMatchObject(denied('a later one'))
    await controller.admin.ask(c => c.revokeToken, { id: parseToken(token).id })
    await expect(redeem(token, { privateKey })).rejects.toMatchObject(denied('it was revoked'))
  })
})

test('a token of three uses lets in three, by names of their own', async () => {
  await using controller = await openController()
  const token = await mint(controller, { uses: 3, labels: { site: 'lyon' } })
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  const outcomes = await Promise.allSettled(names.map(name => redeem(token, { name })))
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
  const { agents } = await controller.admin.ask(c => c.listAgents, { selector: 'site=lyon', name: '' })
  expect(agents).toHaveLength(3)
})

describe('a token is refused', () => {
  test('once it has expired', async () => {
    await using controller = await openController()
    const token = await mint(controller, { ttl: toDuration(1_000) })
    const { expiresAt } = (await tokens(controller))[0]!
    await until('it has expired', () => Date.now() > expiresAt!.getTime())
    await expect(redeem(token, { name: 'a' })).rejects.toMatchObject(denied('it expired at'))
  })

  test('once it was revoked', async () => {
    await using controller = await openController()
    const token = await mint(controller, { name: 'a' })
    const { id } = parseToken(token)
    const { view } = await controller.admin.ask(c => c.revokeToken, { id })
    expect(view).toMatchObject({ id, revoked: true })
    await expect(redeem(token)).rejects.toMatchObject(denied('it was revoked'))
    await controller.admin.ask(c => c.revokeToken, { id })
    await expect(controller.admin.ask(c => c.revokeToken, { id: 't-nothing' })).rejects.toMatchObject({
      code: 'not-found',
    })
  })

  test('for another name than its own', async () => {
    await using controller = await openController()
    const token = await mint(controller, { name: 'edge-1' })
    await expect(redeem(token, { name: 'edge-2' })).rejects.toMatchObject(
      denied('made for the name `edge-1`'),
    )
    expect((await redeem(token, { name: 'edge-1' })).name).toBe('edge-1')
  })

  test('with a wrong secret, in the same words as one that never was', async () => {
    await using controller = await openController()
    const token = await mint(controller, { name: 'edge-1' })
    const wrong = redeem(token, { secret: Buffer.alloc(32) })
    await expect(wrong).rejects.toMatchObject(denied('^the controller does not know it$'))
    await expect(redeem(token, { secret: Buffer.alloc(0) })).rejects.toMatchObject(denied('does not know it'))
    expect(await tokens(controller)).toMatchObject([{ used: 0 }])
  })

  test('without a name, when it has none either', async () => {
    await using controller = await openController()
    await expect(redeem(await mint(controller, {}))).rejects.toMatchObject({
      code: 'usage',
      fix: 'Add --name NAME',
    })
  })

  test.each(['Edge', '../x', 'a/b', 'a\nb', '-a', 'x'.repeat(64), 'é'])('for the name %j', async name => {
    await using controller = await openController()
    await expect(redeem(await mint(controller, {}), { name })).rejects.toMatchObject({ code: 'usage' })
  })

  test('with a request that is no certificate request, and it is not used up', async () => {
    await using controller = await openController()
    const token = await mint(controller, { name: 'a' })
    await expect(redeem(token, { csr: Buffer.from('hello') })).rejects.toMatchObject({ code: 'usage' })
    const other = await createCsr(await generateKey())
    other[other.length - 1]! ^= 1
    await expect(redeem(token, { csr: other })).rejects.toMatchObject({ code: 'usage' })
    expect(await tokens(controller)).toMatchObject([{ used: 0 }])
    await redeem(token)
  })
})

test('a newcomer who names itself cannot take a name that is in use', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  await expect(redeem(await mint(controller, {}), { name: 'edge-1' })).rejects.toMatchObject({
    code: 'conflict',
    what: 'agent/edge-1',
  })
})

test('an operator who logs in on a second machine keeps the first', async () => {
  await using controller = await openController()
  const order = { kind: 'operator', name: 'ann', role: 'viewer', uses: 2 }
  const token = await mint(controller, order)
  const [desk, laptop] = [await redeem(token), await redeem(token)]
  for (const identity of [desk, laptop]) {
    using ann = operatorWith(controller.address, identity)
    expect(await ann.ask(c => c.whoAmI, {})).toMatchObject({ name: 'ann', role: 'viewer' })
  }
})

test.each([
  [{ kind: 'robot' }, 'for an agent or an operator'],
  [{ kind: 'agent', name: 'A!' }, ''],
  [{ kind: 'agent', name: 'a', uses: 2 }, 'serves one agent only'],
  [{ kind: 'agent', role: 'admin' }, 'an agent has no role'],
  [{ kind: 'agent', labels: { 'host.os': 'x' } }, 'what a host says of itself'],
  [{ kind: 'agent', labels: { 'a b': 'x' } }, ''],
  [{ kind: 'agent', labels: { a: 'x\u001b[31m' } }, ''],
  [{ kind: 'operator' }, 'an operator needs a name'],
  [{ kind: 'operator', name: 'a', labels: { x: 'y' } }, 'an operator has no labels'],
  [{ kind: 'operator', name: 'a', role: 'god' }, 'there is no role `god`'],
  [{ kind: 'agent', ttlMs: 999 }, 'between 1 second and 30 days'],
  [{ kind: 'agent', ttlMs: 31 * 86_400_000 }, 'between 1 second and 30 days'],
  [{ kind: 'agent', ttlMs: -5_000 }, 'between 1 second and 30 days'],
])('no token is made for %j', async ({ ttlMs, ...rest }: { kind: string; ttlMs?: number }, why) => {
  const order = ttlMs === undefined ? rest : { ...rest, ttl: toDuration(ttlMs) }
  await using controller = await openController()
  await expect(mint(controller, order)).rejects.toMatchObject({
    code: 'usage',
    why: expect.stringContaining(why),
  })
})
