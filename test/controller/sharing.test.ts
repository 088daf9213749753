import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Balance, Health, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import { until } from '#test/resources/until.ts'
import { toDuration } from '#wire/duration.ts'
import { features } from '#wire/features.ts'

let controller: TestController
beforeAll(async () => {
  controller = await openController()
  for (const name of ['edge-1', 'older', 'newer']) await joinAgent(controller, { name })
})
afterAll(() => controller[Symbol.asyncDispose]())

const health = { http: '/healthz', interval: toDuration(1_000), timeout: toDuration(500), rise: 1, fall: 2 }
const shared = { balance: Balance.SOURCE_HASH, health }

async function view(name: string) {
  const filter = { name, agent: '', selector: '' }
  const { relays } = await controller.admin.ask(c => c.listRelays, { filter })
  return relays[0]!
}

describe('how targets share the connections', () => {
  test('is part of the spec: the same twice is unchanged, another is a conflict', async () => {
    await create(controller, draft('shared', shared))
    expect((await create(controller, draft('shared', shared))).unchanged).toBe(true)
    for (const other of [
      { balance: Balance.ROUND_ROBIN },
      { health: undefined },
      { health: { ...health, fall: 3 } },
    ]) {
      await expect(create(controller, draft('shared', { ...shared, ...other }))).rejects.toMatchObject({
        code: 'conflict',
      })
    }
  })

  test.each<[string, Parameters<typeof draft>[1], object]>([
    ['an unknown balance', { balance: 9 as Balance }, { what: 'balance of relay/x' }],
    ['a path that is none', { health: { http: 'healthz' } }, { what: 'health-check of relay/x' }],
    ['a path that splits the request', { health: { http: '/a b\r\nx: y' } }, {}],
    ['a pace without rest', { health: { interval: toDuration(1) } }, { what: 'health-interval of relay/x' }],
    ['a pace of years', { health: { timeout: toDuration(1e11) } }, { fix: 'Write at most 1d' }],
    ['a negative pace', { health: { interval: toDuration(-5_000) } }, {}],
    ['a count without end', { health: { fall: 1_000_000 } }, { what: 'health-fall of relay/x' }],
    [
      'checks of UDP',
      { health: {}, targets: ['TCP4:a:1', 'UDP4:a:1'] },
      {
        what: 'health checks of `UDP4:a:1`',
        why: 'that UDP4 can be opened does not show that a server is there',
        fix: expect.stringMatching(/^Leave the checks out\. They make sense for TCP, .*UNIX-CONNECT/),
      },
    ],
    ['checks of what is built in', { health: {}, targets: ['ECHO'] }, {}],
  ])('refuses %s', async (_, spec, error) => {
    await expect(create(controller, draft('x', spec))).rejects.toMatchObject({ code: 'usage', ...error })
  })

  test('is sent to agents that know it, and to no other', async () => {
    await create(controller, draft('both', { agents: ['older', 'newer'], ...shared }))
    const older = await joinAgent(controller, { name: 'older' })
    const newer = await joinAgent(controller, { name: 'newer' })
    await using one = older.attach()
    await using other = newer.attach({ features: [...features] })
    expect((await one.await('sync')).relays).toEqual([])
    expect((await other.await('sync')).relays).toMatchObject([shared])
    expect((await view('both')).agents).toMatchObject([
      {
        agent: 'older',
        report: { problem: { why: expect.stringContaining('does not know balance, health') } },
      },
      { agent: 'newer', state: RelayState.PENDING },
    ])
  })
})

test('what an agent says of its targets is shown, and cut to what a list can hold', async () => {
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = agent.attach({ features: [...features] })
  const { relay } = await create(controller, draft('seen', shared))
  const target = {
    address: 'x'.repeat(2_000),
    health: Health.DOWN,
    since: new Date(0),
    problem: { code: 'refused', what: 'y'.repeat(5_000), why: '', fix: '' },
    connections: 1,
    total: 2n,
    failures: 3n,
  }
  const report = {
    relayId: relay.id,
    generation: 1n,
    state: RelayState.READY,
    local: [],
    trace: [],
    refusals: {},
    targets: [target],
    problem: undefined,
    retryAt: undefined,
  }
  stream.send({ $case: 'reports', value: { reports: [report] } })
  const [shown] = await until('it is shown', async () => (await view('seen')).agents[0]?.report?.targets)
  expect(shown).toMatchObject({ health: Health.DOWN, connections: 1, total: 2n, failures: 3n })
  expect(shown?.address).toHaveLength(300)
  expect(shown?.problem?.what).toHaveLength(1_024)
})
