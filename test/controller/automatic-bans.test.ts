import { describe, expect, test } from 'vitest'
import type { SourceBanned } from '#gen/fleetcat/v1/agent.ts'
import { apply, create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import type { AgentStream } from '#test/resources/scripted-agent.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'
import { features } from '#wire/features.ts'

const hour = 3_600_000
const rule = { after: 20, within: toDuration(60_000), lasts: toDuration(hour) }
const known = { features: [...features] }
const web = (spec = {}) => draft('web', { agents: ['edge-1', 'edge-2'], limits: { ban: rule }, ...spec })

/** Two agents, and a relay with a rule on both. */
async function setting(stack: AsyncDisposableStack) {
  const controller = stack.use(await openController())
  const streams: AgentStream[] = []
  for (const name of ['edge-1', 'edge-2'])
    streams.push(stack.use(await (await joinAgent(controller, { name })).settle(known)))
  const { relay } = await create(controller, web())
  return { controller, edge: streams[0]!, other: streams[1]!, relay }
}

const say = (stream: AgentStream, ...sources: SourceBanned[]) =>
  stream.send({ $case: 'banned', value: { sources } })
const banned = (relayId: string, cidr = '192.0.2.7/32', ms = hour): SourceBanned => ({
  relayId,
  cidr,
  lasts: toDuration(ms),
})

async function listed({ admin }: TestController) {
  const { revocations } = await admin.ask(c => c.listRevocations, { id: '' })
  return revocations.map(({ revocation }) => revocation!)
}

describe('what an agent shuts out', () => {
  test('is shut out of that relay on all of its agents, listed, and can be lifted', async () => {
    await using stack = new AsyncDisposableStack()
    const { controller, edge, other, relay } = await setting(stack)
    say(edge, banned(relay.id))
    const order = await other.await('revoke')
    expect(order.target).toMatchObject({
      $case: 'source',
      value: { cidr: '192.0.2.7/32', relayIds: [relay.id] },
    })
    expect((await edge.await('bans')).bans).toMatchObject([{ cidr: '192.0.2.7/32', relayIds: [relay.id] }])
    const [made] = await listed(controller)
    expect(made).toMatchObject({
      target: 'source/192.0.2.7/32',
      automatic: true,
      agents: ['edge-1', 'edge-2'],
    })
    expect(made!.by).toBe('agent/edge-1 (automatic)')
    expect(made!.reason).toContain('turned away 20 times within 60 s at relay/web')
    expect(made!.lockUntil!.getTime() - made!.at!.getTime()).toBeLessThanOrEqual(hour)
    await controller.admin.ask(c => c.lift, { id: made!.id, reason: 'a colleague' })
    expect((await edge.await('bans')).bans).toEqual([])
  })

  test('lasts no longer than the rule says, and the same once more changes nothing', async () => {
    await using stack = new AsyncDisposableStack()
    const { controller, edge, other, relay } = await setting(stack)
    say(edge, banned(relay.id, '2001:db8:0:1::/64', 100 * hour))
    await other.await('revoke')
    say(edge, banned(relay.id, '2001:db8:0:1::/64', hour / 2), banned(relay.id, '192.0.2.9/32'))
    await other.await('revoke')
    const all = await listed(controller)
    expect(all.map(({ targetId }) => targetId).sort()).toEqual(['192.0.2.9/32', '2001:db8:0:1::/64'])
    for (const { lockUntil } of all) expect(lockUntil!.getTime()).toBeLessThanOrEqual(Date.now() + hour)
  })

  test('by no rule any more is passed over', async () => {
    await using stack = new AsyncDisposableStack()
    const { controller, edge, relay } = await setting(stack)
    await apply(controller, [web({ limits: {} })])
    say(edge, banned(relay.id), banned('r-gone'))
    edge.send({ $case: 'leaseRequest', value: { nonce: 1n } })
    await edge.await('lease')
    expect(await listed(controller)).toEqual([])
  })
})

describe('an agent that lies', () => {
  test.each(['0.0.0.0/0', '10.0.0.0/8', '::/0', '2001:db8::/32', '192.0.2.7', 'nonsense', ''])(
    'shuts nobody out with %j',
    async cidr => {
      await using stack = new AsyncDisposableStack()
      const { controller, edge, relay } = await setting(stack)
      say(edge, banned(relay.id, cidr))
      await until('the alert is raised', () => controller.events('alert.wide-ban').length === 1)
      expect(await listed(controller)).toEqual([])
    },
  )

  test('about a relay that is not its own shuts nobody out', async () => {
    await using stack = new AsyncDisposableStack()
    const { controller, edge } = await setting(stack)
    const { relay } = await create(controller, draft('other', { agents: ['edge-2'], limits: { ban: rule } }))
    say(edge, banned(relay.id))
    await until('the alert is raised', () => controller.events('alert.foreign-ban').length === 1)
    expect(await listed(controller)).toEqual([])
  })

  test('about ever more sources fills no store', async () => {
    await using stack = new AsyncDisposableStack()
    const { controller, edge, relay } = await setting(stack)
    const flood = Array.from({ length: 2_000 }, (_, i) => banned(relay.id, `10.0.${i >> 8}.${i & 255}/32`))
    say(edge, ...flood)
    await until('the alert is raised', () => controller.events('alert.too-many-bans').length > 0)
    await until('what is noted is noted', async () => (await listed(controller)).length >= 200, 20_000)
    expect((await listed(controller)).length).toBeLessThan(300)
  })
})

test.each<[string, object, string]>([
  ['UDP4-LISTEN:5000,fork', rule, 'forge'],
  ['UNIX-LISTEN:/tmp/x,fork', rule, 'IP'],
  ['TCP4-LISTEN:8080,fork', { ...rule, after: 0 }, 'arrivals'],
  ['TCP4-LISTEN:8080,fork', { ...rule, after: 5_000 }, 'arrivals'],
  ['TCP4-LISTEN:8080,fork', { ...rule, within: undefined }, 'within'],
  ['TCP4-LISTEN:8080,fork', { ...rule, lasts: toDuration(99 * 86_400_000) }, '30 days'],
])('a rule that makes no sense is refused: $0, for $2', async (listen, ban, says) => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  const refused = create(controller, draft('web', { listen, limits: { ban } }))
  await expect(refused).rejects.toMatchObject({ code: 'usage' })
  await expect(refused).rejects.toThrowError(says)
})
