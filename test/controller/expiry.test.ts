import { describe, expect, test } from 'vitest'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import { until } from '#test/resources/until.ts'
import { toDuration, toMilliseconds } from '#wire/duration.ts'
import { features } from '#wire/features.ts'

const known = { features: [...features] }
const lasting = (ms: number, more = {}) => draft('web', { ttl: toDuration(ms), ...more })
const hour = 3_600_000

async function viewOf({ admin }: TestController, name = 'web') {
  const { relays } = await admin.ask(c => c.listRelays, { filter: { name, selector: '', agent: '' } })
  return relays[0]!
}

async function expired(controller: TestController) {
  await until('its time is over', async () => (await viewOf(controller)).relay!.expiredAt !== undefined)
  return viewOf(controller)
}

describe('a relay with a ttl', () => {
  test('is sent with the time that it has left, and never with the time of a clock', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle(known)
    const { relay } = await create(controller, lasting(hour))
    const { changed } = await stream.await('apply')
    const left = toMilliseconds(changed[0]!.expiresIn!)
    expect(left).toBeLessThanOrEqual(hour)
    expect(left).toBeGreaterThan(hour - 60_000)
    expect(relay.expiresAt!.getTime() - relay.createdAt!.getTime()).toBeLessThan(hour + 1_000)
    expect((await viewOf(controller)).expiresAt).toEqual(relay.expiresAt)
  })

  test('is not sent to an agent that would let it run for ever', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle({ features: features.filter(each => each !== 'ttl') })
    await create(controller, lasting(hour))
    const [on] = (await viewOf(controller)).agents
    expect(on).toMatchObject({ state: RelayState.REJECTED, report: { problem: { code: 'unsupported' } } })
    expect(on!.report!.problem!.why).toContain('ttl')
    expect(stream.unheard).toEqual([])
  })

  test('is over for good: its agents hear it again and again, after restarts too', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle(known)
    await create(controller, lasting(1_000))
    await stream.await('apply')
    await expired(controller)
    const over = (await stream.await('apply')).changed[0]!
    expect(over).toMatchObject({ generation: 1n, expiresIn: toDuration(0) })
    await controller.restart()
    expect(await viewOf(controller)).toMatchObject({ state: RelayState.EXPIRED })
    await using again = edge.attach(known)
    await again.hear('welcome')
    expect((await again.hear('sync')).relays[0]).toMatchObject({ expiresIn: toDuration(0) })
  })

  test('that ended while the controller was down is over when it starts', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, lasting(1_000))
    await controller.running.close()
    await until('its time is over', () => relay.expiresAt!.getTime() < Date.now())
    await controller.restart()
    expect(await expired(controller)).toMatchObject({ state: RelayState.EXPIRED })
  })

  test('shows the word of each agent that can be reached, and of others that it is over', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await joinAgent(controller, { name: 'edge-2' })
    await using stream = await edge.settle(known)
    const { relay } = await create(controller, lasting(1_000, { agents: ['edge-1', 'edge-2'] }))
    await expired(controller)
    const states = async () => (await viewOf(controller)).agents.map(({ state }) => state)
    expect(await states()).toEqual([RelayState.PENDING, RelayState.EXPIRED])
    const report = { relayId: relay.id, generation: 1n, state: RelayState.EXPIRED, local: [], trace: [] }
    const rest = { problem: undefined, retryAt: undefined, refusals: {}, targets: [] }
    stream.send({ $case: 'reports', value: { reports: [{ ...report, ...rest }] } })
    await until('the agent is heard', async () => (await states())[0] === RelayState.EXPIRED)
    expect((await viewOf(controller)).state).toBe(RelayState.EXPIRED)
  })
})

describe('its time', () => {
  test('is not given anew by the same or by other settings, but by another ttl', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, lasting(hour))
    const expiry = async () => (await viewOf(controller)).expiresAt
    await apply(controller, [lasting(hour)])
    expect(await expiry()).toEqual(relay.expiresAt)
    await apply(controller, [lasting(hour, { targets: ['TCP4:127.0.0.1:81'] })])
    expect(await expiry()).toEqual(relay.expiresAt)
    await apply(controller, [lasting(2 * hour)])
    expect((await expiry())!.getTime()).toBeGreaterThanOrEqual(relay.expiresAt!.getTime() + hour)
    await apply(controller, [draft('web')])
    expect(await expiry()).toBeUndefined()
  })

  test('is given anew when it is applied again after its end, and it stays the same relay', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, lasting(1_000))
    await expired(controller)
    const [dry] = await apply(controller, [lasting(1_000)], { dryRun: true })
    expect(dry).toMatchObject({ name: 'web', before: { expiredAt: expect.any(Date) } })
    await apply(controller, [lasting(hour)])
    const view = await viewOf(controller)
    expect(view.relay).toMatchObject({ id: relay.id, generation: 2n, expiredAt: undefined })
    expect(view.expiresAt!.getTime()).toBeGreaterThan(Date.now())
  })

  test('is over for the name too: a new relay may take it, and the old one stays dead', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle(known)
    const { relay: old } = await create(controller, lasting(1_000))
    await expired(controller)
    const { relay, unchanged } = await create(controller, lasting(hour))
    expect(unchanged).toBe(false)
    expect(relay).toMatchObject({ generation: 1n })
    expect(relay.id).not.toBe(old.id)
    await until('the old one is taken from its agent', async () => {
      const { changed, removed } = await stream.await('apply')
      return removed.includes(old.id) && changed.some(({ relayId }) => relayId === relay.id)
    })
    expect((await revoke(controller, 'relay/web')).revocation.targetId).toBe(relay.id)
  })

  test.each([0, -5_000, 500, 11 * 365 * 86_400_000])('of %d ms is refused', async ms => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await expect(create(controller, lasting(ms))).rejects.toMatchObject({ code: 'usage' })
  })
})
