import { describe, expect, test } from 'vitest'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { enlist, joinAgent, mint, openController, type TestController } from '#test/resources/fleet.ts'
import { redeem } from '#test/resources/joining.ts'
import type { AgentStream, ScriptedAgent } from '#test/resources/scripted-agent.ts'
import { until } from '#test/resources/until.ts'

/** Whom a revocation of relay/web would ask. */
async function asked(controller: TestController): Promise<string[]> {
  return (await revoke(controller, 'relay/web', { dryRun: true })).revocation.agents.toSorted()
}

async function whole(agent: ScriptedAgent, hostLabels: Record<string, string> = { os: 'test' }) {
  const stream = agent.attach({ hostLabels })
  await stream.hear('welcome')
  return { stream, ...(await stream.hear('sync')) }
}

const confirm = (stream: AgentStream, revision: bigint) =>
  stream.send({ $case: 'applied', value: { revision } })

/** Waits until the controller has heard what was sent so far: by a clock that shows in the list. */
async function allHeard({ admin }: TestController, stream: AgentStream, name: string): Promise<void> {
  stream.send({ $case: 'pulse', value: { clock: new Date(Date.now() + 3_600_000) } })
  await until('all is heard', async () => {
    const { agents } = await admin.ask(c => c.listAgents, { selector: '', name })
    return agents[0]!.clockAhead!.seconds > 1_000n
  })
}

describe('a relay that was placed elsewhere is revoked', () => {
  test('on a host that could not be told, though the controller restarts in between', async () => {
    await using controller = await openController()
    const one = await joinAgent(controller, { name: 'edge-1' })
    const two = await joinAgent(controller, { name: 'edge-2' })
    await create(controller, draft('web', { agents: ['edge-1', 'edge-2'] }))
    const lost = await whole(two)
    confirm(lost.stream, lost.revision)
    await lost.stream[Symbol.asyncDispose]()
    await apply(controller, [draft('web', { agents: ['edge-1'] })])
    await controller.restart()
    await using first = await one.settle()
    const { revocation } = await revoke(controller, 'relay/web')
    expect(revocation.agents.toSorted()).toEqual(['edge-1', 'edge-2'])
    await first.hear('revoke')
    await using back = two.attach()
    await back.hear('welcome')
    expect((await back.hear('sync')).revocations).toMatchObject([{ revocationId: revocation.id }])
  })

  test('not on hosts that have confirmed that they let go of it, and on all others', async () => {
    await using controller = await openController()
    const names = ['edge-1', 'edge-2', 'edge-3']
    const [, two, three] = await Promise.all(names.map(name => joinAgent(controller, { name })))
    await create(controller, draft('web', { agents: names }))
    await using second = (await whole(two!)).stream
    const third = (await whole(three!)).stream
    await apply(controller, [draft('web', { agents: ['edge-1'] })])
    const { removed, revision } = await second.hear('apply')
    expect(removed).toHaveLength(1)
    // What it applied before says nothing of this; and what was never sent cannot have been applied.
    confirm(second, revision - 1n)
    confirm(second, revision + 1_000n)
    await allHeard(controller, second, 'edge-2')
    await third.hear('apply')
    await third[Symbol.asyncDispose]()
    expect(await asked(controller)).toEqual(names)
    confirm(second, revision)
    await until('the second is let go', async () => (await asked(controller)).length === 2)
    await controller.restart()
    expect(await asked(controller)).toEqual(['edge-1', 'edge-3'])

    const back = await whole(three!)
    expect(back.relays).toEqual([])
    expect(await asked(controller)).toEqual(['edge-1', 'edge-3'])
    confirm(back.stream, back.revision)
    await until('the third is let go', async () => (await asked(controller)).length === 1)
    await back.stream[Symbol.asyncDispose]()
    await controller.restart()
    expect(await asked(controller)).toEqual(['edge-1'])
  })

  test('not on hosts that never were there to be told', async () => {
    await using controller = await openController()
    for (const name of ['edge-1', 'edge-2']) await joinAgent(controller, { name })
    await create(controller, draft('web', { agents: ['edge-1', 'edge-2'] }))
    await apply(controller, [draft('web', { agents: ['edge-1'] })])
    expect(await asked(controller)).toEqual(['edge-1'])
  })

  test('also when its selector was changed several times', async () => {
    await using controller = await openController()
    const agents = await Promise.all(
      ['a', 'b', 'c'].map(site => joinAgent(controller, { name: `edge-${site}`, labels: { site } })),
    )
    await create(controller, draft('web', { selector: 'site=a' }))
    for (const agent of agents) await (await whole(agent)).stream[Symbol.asyncDispose]()
    for (const site of ['b', 'c', 'a', 'c'])
      await apply(controller, [draft('web', { selector: `site=${site}` })])
    expect(await asked(controller)).toEqual(['edge-a', 'edge-b', 'edge-c'])
    const back = await whole(agents[0]!)
    confirm(back.stream, back.revision)
    await until('the first is let go', async () => (await asked(controller)).length === 2)
    await back.stream[Symbol.asyncDispose]()
  })
})

describe('a host that has other labels now', () => {
  test('is asked of what it ran by those of its own, until it has confirmed', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web', { selector: 'host.gpu' }))
    const before = await whole(edge, { gpu: 'a' })
    expect(before.relays).toHaveLength(1)
    confirm(before.stream, before.revision)
    await before.stream[Symbol.asyncDispose]()
    const after = await whole(edge, {})
    expect(after.relays).toEqual([])
    await after.stream[Symbol.asyncDispose]()
    await controller.restart()
    expect(await asked(controller)).toEqual(['edge-1'])
    const back = await whole(edge, {})
    confirm(back.stream, back.revision)
    await until('it is let go', async () => (await asked(controller)).length === 0)
    await back.stream[Symbol.asyncDispose]()
    await controller.restart()
    expect(await asked(controller)).toEqual([])
  })

  test('is asked of what it ran by those of an older token', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1', labels: { role: 'db' } })
    await create(controller, draft('web', { selector: 'role=db' }))
    await (await whole(edge)).stream[Symbol.asyncDispose]()
    const anew = enlist(
      controller,
      await redeem(await mint(controller, { name: 'edge-1', labels: { role: 'x' } })),
    )
    await controller.restart()
    expect(await asked(controller)).toEqual(['edge-1'])
    const back = await whole(anew)
    expect(back.relays).toEqual([])
    confirm(back.stream, back.revision)
    await until('it is let go', async () => (await asked(controller)).length === 0)
    await back.stream[Symbol.asyncDispose]()
  })

  test('is sent nothing before they are on disk', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web', { selector: 'host.gpu' }))
    const { stream, relays } = await whole(edge, { gpu: 'a' })
    expect(relays).toHaveLength(1)
    // Without a goodbye, and so without a last word to the disk.
    await controller.restart()
    await stream[Symbol.asyncDispose]()
    expect(await asked(controller)).toEqual(['edge-1'])
  })
})

test('what a host ran that was revoked out of reach is still asked of it; what came later is not', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1', labels: { role: 'db' } })
  await create(controller, draft('web', { selector: 'role=db' }))
  await (await whole(edge)).stream[Symbol.asyncDispose]()
  await revoke(controller, 'agent/edge-1')
  await create(controller, draft('later', { selector: 'role=db' }))
  expect(await asked(controller)).toEqual(['edge-1'])
  expect((await revoke(controller, 'relay/later')).revocation.agents).toEqual([])
})
