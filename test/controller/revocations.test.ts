import { describe, expect, test } from 'vitest'
import type { RevocationView } from '#gen/fleetcat/v1/operator.ts'
import { Receipt, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, openOperator, type TestController } from '#test/resources/fleet.ts'
import type { AgentStream } from '#test/resources/scripted-agent.ts'
import { until } from '#test/resources/until.ts'
import { messages } from '#wire/call.ts'
import { toDuration } from '#wire/duration.ts'

function confirm(stream: AgentStream, revocationId: string, more: Partial<Receipt> = {}): void {
  const value = Receipt.fromPartial({
    revocationId,
    listenersClosed: 1,
    connectionsCut: 2,
    at: new Date(),
    ...more,
  })
  stream.send({ $case: 'receipt', value })
}

function report(stream: AgentStream, id: string, relayId: string, source = '10.0.0.9:4000'): void {
  const connection = {
    id,
    relayId,
    source,
    target: '127.0.0.1:80',
    tlsIdentity: '',
    openedAt: new Date(),
    idle: undefined,
    bytesIn: 1n,
    bytesOut: 2n,
  }
  stream.send({
    $case: 'connections',
    value: { snapshot: false, opened: [connection], closed: [], traffic: [], brief: 0n },
  })
}

async function verdicts({ admin }: TestController, id: string) {
  const { revocations } = await admin.ask(c => c.listRevocations, { id })
  return revocations[0]!.verdicts
}

const connections = async ({ admin }: TestController) =>
  (await admin.ask(c => c.listConnections, { filter: undefined })).connections

describe('a relay', () => {
  test('is cut on every agent that runs it, and each verdict is final with its receipt', async () => {
    await using controller = await openController()
    const [one, two] = [
      await joinAgent(controller, { name: 'edge-1' }),
      await joinAgent(controller, { name: 'edge-2' }),
    ]
    await using first = await one.settle()
    await using second = await two.settle()
    const { relay } = await create(controller, draft('web', { agents: ['edge-1', 'edge-2'] }))
    const {
      revocation,
      verdicts: pending,
      unchanged,
    } = await revoke(controller, 'relay/web', { reason: 'enough' })
    expect(revocation).toMatchObject({
      target: 'relay/web',
      targetId: relay.id,
      by: 'admin',
      reason: 'enough',
    })
    expect(unchanged).toBe(false)
    expect(pending.map(({ agent, kind }) => [agent, kind])).toEqual([
      ['edge-1', VerdictKind.PENDING],
      ['edge-2', VerdictKind.PENDING],
    ])

    const order = await first.await('revoke')
    expect(order).toMatchObject({
      revocationId: revocation.id,
      reason: 'enough',
      target: { $case: 'relayId', value: relay.id },
    })
    confirm(first, revocation.id)
    await until(
      'one has cut',
      async () => (await verdicts(controller, revocation.id))[0]!.kind === VerdictKind.CUT,
    )
    expect((await verdicts(controller, revocation.id))[1]!.kind).toBe(VerdictKind.PENDING)
    await second.await('revoke')
    confirm(second, revocation.id, {
      problem: { code: 'internal', what: 'a child', why: 'it does not die', fix: '' },
    })
    await until(
      'the other refused',
      async () => (await verdicts(controller, revocation.id))[1]!.kind === VerdictKind.REFUSED,
    )
  })

  test('revoked twice is a success that changes nothing', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web'))
    const first = await revoke(controller, 'relay/web', { requestId: 'q-1' })
    expect(await revoke(controller, 'relay/web', { requestId: 'q-2' })).toMatchObject({
      unchanged: true,
      revocation: { id: first.revocation.id },
    })
    // A call that is repeated because its answer was lost is the same call.
    expect(await revoke(controller, 'relay/web', { requestId: 'q-1' })).toMatchObject({
      unchanged: false,
      revocation: { id: first.revocation.id },
    })
  })

  test('as a dry run says whom it would cut, and changes nothing', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    await create(controller, draft('web'))
    await stream.hear('apply')
    const { revocation } = await revoke(controller, 'relay/web', { dryRun: true })
    expect(revocation.agents).toEqual(['edge-1'])
    expect((await controller.admin.ask(c => c.listRevocations, { id: '' })).revocations).toEqual([])
    await create(controller, draft('next'))
    await stream.hear('apply')
  })

  test('on a host out of reach is fenced by the end of its lease, and is the first that the host hears', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await (await edge.settle())[Symbol.asyncDispose]()
    const { relay } = await create(controller, draft('web'))
    const { revocation, verdicts: given } = await revoke(controller, 'relay/web')
    expect(given).toMatchObject([{ kind: VerdictKind.FENCED, problem: { code: 'unreachable' } }])
    const lease = given[0]!.fencedBy!.getTime() - Date.now()
    expect(lease).toBeGreaterThan(30_000)
    expect(lease).toBeLessThanOrEqual(61_000)

    await controller.restart()
    await using stream = edge.attach()
    await stream.hear('welcome')
    const { revocations, relays } = await stream.hear('sync')
    expect(relays).toEqual([])
    expect(revocations).toMatchObject([{ revocationId: revocation.id, target: { value: relay.id } }])
    for (let i = 0; i < 3; i++) confirm(stream, revocation.id, { connectionsCut: i })
    await until(
      'it is cut',
      async () => (await verdicts(controller, revocation.id))[0]!.kind === VerdictKind.CUT,
    )
    // The first word counts; a repeated one adds nothing.
    expect((await verdicts(controller, revocation.id))[0]!.receipt!.connectionsCut).toBe(0)
    await using again = edge.attach()
    await again.hear('welcome')
    expect((await again.hear('sync')).revocations).toEqual([])
  })
})

test('a dry run counts the connections that would be cut, and those that are excepted it leaves out', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await edge.settle()
  const [web, api] = [await create(controller, draft('web')), await create(controller, draft('api'))]
  const sources = ['10.0.0.9:1', '10.0.7.9:2', '[2001:db8::9]:3', '192.0.2.1:4']
  for (const [i, source] of sources.entries()) {
    report(stream, `c-w${i}`, web.relay.id, source)
    report(stream, `c-a${i}`, api.relay.id, source)
  }
  await until('all are listed', async () => (await connections(controller)).length === 8)
  const counted = async (target: string, more: Parameters<typeof revoke>[2] = {}) =>
    (await revoke(controller, target, { dryRun: true, ...more })).connections
  expect(await counted('relay/web')).toBe(4)
  expect(await counted('conn/c-a1')).toBe(1)
  expect(await counted('agent/edge-1')).toBe(8)
  expect(await counted('source/10.0.0.0/8')).toBe(4)
  expect(await counted('source/10.0.0.0/8', { relays: ['web'] })).toBe(2)
  expect(await counted('source/10.0.0.0/8', { relays: ['web'], except: ['10.0.7.0/24'] })).toBe(1)
  expect(await counted('source/2001:db8::/32')).toBe(2)
  expect((await revoke(controller, 'relay/web')).connections).toBe(0)
})

test('a list of revocations may have only those in force, and only those of a target', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  await create(controller, draft('web'))
  await create(controller, draft('api'))
  await revoke(controller, 'relay/web')
  await revoke(controller, 'relay/api', { lock: toDuration(3_600_000) })
  await revoke(controller, 'source/10.0.0.0/8')
  await revoke(controller, 'source/10.1.0.0/16')
  const { revocation } = await revoke(controller, 'source/192.0.2.1')
  await controller.admin.ask(c => c.lift, { id: revocation.id, reason: '' })
  const listed = async (filter: { active?: boolean; target?: string }) => {
    const { revocations } = await controller.admin.ask(c => c.listRevocations, { id: '', ...filter })
    return revocations.map(each => each.revocation!.target).sort()
  }
  expect(await listed({})).toHaveLength(5)
  expect(await listed({ active: true })).toEqual(['relay/api', 'source/10.0.0.0/8', 'source/10.1.0.0/16'])
  expect(await listed({ target: 'relay/web' })).toEqual(['relay/web'])
  expect(await listed({ target: 'relay/web', active: true })).toEqual([])
  expect(await listed({ target: 'source/10.1.2.3' })).toEqual(['source/10.0.0.0/8', 'source/10.1.0.0/16'])
  expect(await listed({ target: 'source/10.2.0.0/16' })).toEqual(['source/10.0.0.0/8'])
  expect(await listed({ target: 'source/0.0.0.0/0' })).toHaveLength(3)
  expect(await listed({ target: 'source/::/0' })).toEqual([])
  await expect(listed({ target: 'web' })).rejects.toMatchObject({ code: 'usage' })
})

describe('a connection', () => {
  test('is cut where it is, and the order reaches nobody else', async () => {
    await using controller = await openController()
    const [one, two] = [
      await joinAgent(controller, { name: 'edge-1' }),
      await joinAgent(controller, { name: 'edge-2' }),
    ]
    const { relay } = await create(controller, draft('web', { selector: '!retired' }))
    await using first = await one.settle()
    await using second = await two.settle()
    report(first, 'c-1', relay.id)
    report(second, 'c-2', relay.id)
    await until('both are listed', async () => (await connections(controller)).length === 2)
    const { revocation } = await revoke(controller, 'conn/c-2')
    expect(revocation.agents).toEqual(['edge-2'])
    expect(await second.hear('revoke')).toMatchObject({ target: { $case: 'connectionId', value: 'c-2' } })
    expect(first.unheard).toEqual([])
    await expect(revoke(controller, 'conn/c-3')).rejects.toMatchObject({ code: 'not-found' })
  })

  test('cannot hide behind one that another host claims to have', async () => {
    await using controller = await openController()
    const [liar, honest] = [
      await joinAgent(controller, { name: 'a-liar' }),
      await joinAgent(controller, { name: 'edge-1' }),
    ]
    const { relay } = await create(controller, draft('web', { selector: '!retired' }))
    await using first = await liar.settle()
    await using second = await honest.settle()
    report(first, 'c-1', relay.id)
    report(second, 'c-1', relay.id)
    await until('both are listed', async () => (await connections(controller)).length === 2)
    const { revocation } = await revoke(controller, 'conn/c-1')
    expect(revocation.agents.sort()).toEqual(['a-liar', 'edge-1'])
    await second.hear('revoke')
  })
})

test('an operator who is revoked is out at once, watches and all', async () => {
  await using controller = await openController()
  using ann = await openOperator(controller, 'operator', 'ann')
  const watch = messages(ann.client.watchAgents({ selector: '' }), 'watch')
  await watch.next()
  expect(await revoke(controller, 'operator/ann')).toMatchObject({ verdicts: [] })
  await expect(watch.next()).rejects.toMatchObject({ code: 'revoked' })
  await expect(ann.ask(c => c.whoAmI, {})).rejects.toMatchObject({ code: 'revoked' })
  expect(await revoke(controller, 'operator/ann')).toMatchObject({ unchanged: true })
})

test.each([
  ['relay/wbe', { code: 'not-found', fix: 'Did you mean `relay/web`?' }],
  ['agent/edge-11', { code: 'not-found', fix: 'Did you mean `agent/edge-1`?' }],
  ['operator/admln', { code: 'not-found', fix: 'Did you mean `operator/admin`?' }],
  ['realy/web', { code: 'usage', fix: 'Did you mean `relay/web`?' }],
  ['web', { code: 'usage', fix: 'For a relay write relay/web' }],
  ['relay/', { code: 'usage' }],
  ['/web', { code: 'usage' }],
  ['', { code: 'usage' }],
])('the target %j is refused with the nearest right one', async (target, error) => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  await create(controller, draft('web'))
  await expect(revoke(controller, target)).rejects.toMatchObject(error)
})

describe('watching a revocation', () => {
  const kindsOf = (seen: IteratorResult<{ revocation?: RevocationView | undefined }, void>) =>
    seen.done ? 'done' : seen.value.revocation!.verdicts.map(({ kind }) => kind)

  test('gives the verdicts now, then each change, and ends when all are final', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    await create(controller, draft('web'))
    const { revocation } = await revoke(controller, 'relay/web')
    const watch = messages(controller.admin.client.watchRevocation({ ids: [revocation.id] }), 'watch')
    expect(kindsOf(await watch.next())).toEqual([VerdictKind.PENDING])
    confirm(stream, revocation.id)
    let last = kindsOf(await watch.next())
    while (last !== 'done' && last[0] === VerdictKind.PENDING) last = kindsOf(await watch.next())
    expect(last).toEqual([VerdictKind.CUT])
    expect(kindsOf(await watch.next())).toBe('done')
  })

  test('ends too when the rest cannot be reached', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web'))
    const { revocation } = await revoke(controller, 'relay/web')
    const watch = messages(controller.admin.client.watchRevocation({ ids: [revocation.id] }), 'watch')
    expect(kindsOf(await watch.next())).toEqual([VerdictKind.FENCED])
    expect(kindsOf(await watch.next())).toBe('done')
  })

  test('follows as many as are asked for, and says each only when it changes', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    const ids: string[] = []
    for (let i = 0; i < 40; i++) {
      await create(controller, draft(`web-${i}`))
      ids.push((await revoke(controller, `relay/web-${i}`)).revocation.id)
    }
    const told = new Map<string, VerdictKind[]>(ids.map(id => [id, []]))
    const watch = messages(controller.admin.client.watchRevocation({ ids }), 'watch')
    for await (const { revocation } of watch) {
      const kinds = told.get(revocation!.revocation!.id)!
      kinds.push(revocation!.verdicts[0]!.kind)
      const all = [...told.values()].flat()
      if (all.length === ids.length) for (const id of ids) confirm(stream, id)
    }
    expect([...told.values()]).toEqual(ids.map(() => [VerdictKind.PENDING, VerdictKind.CUT]))
  })

  test('of none is not found', async () => {
    await using controller = await openController()
    const watch = messages(controller.admin.client.watchRevocation({ ids: ['v-none'] }), 'watch')
    await expect(watch.next()).rejects.toMatchObject({ code: 'not-found' })
  })
})
