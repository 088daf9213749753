import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ChangeKind, RelayDraft } from '#gen/fleetcat/v1/operator.ts'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import { toDuration } from '#wire/duration.ts'

let controller: TestController
beforeAll(async () => {
  controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  await joinAgent(controller, { name: 'edge-2' })
})
afterAll(() => controller[Symbol.asyncDispose]())

const kinds = (changes: { kind: number; name: string }[]) => changes.map(({ kind, name }) => [kind, name])

async function names(): Promise<string[]> {
  return (await controller.admin.ask(c => c.listRelays, { filter: undefined })).relays.map(r => r.relay!.name)
}

describe('create', () => {
  test('twice the same changes nothing, whatever the order of agents and labels', async () => {
    const spec = { agents: ['edge-1', 'edge-2'] }
    const first = await create(controller, draft('same', spec, { labels: { a: '1', b: '2' } }))
    expect(first.unchanged).toBe(false)
    const again = draft('same', { agents: ['edge-2', 'edge-1'] }, { labels: { b: '2', a: '1' } })
    expect(await create(controller, again)).toEqual({ relay: first.relay, unchanged: true })
  })

  test('repeated with its own request id is not "unchanged": it is the same call', async () => {
    const first = await create(controller, draft('once'), { requestId: 'q-1' })
    expect(await create(controller, draft('once'), { requestId: 'q-1' })).toEqual(first)
    expect(await create(controller, draft('once'), { requestId: 'q-2' })).toMatchObject({ unchanged: true })
  })

  test.each([
    ['target', draft('taken', { targets: ['TCP4:127.0.0.1:81'] })],
    ['listen', draft('taken', { listen: 'TCP4-LISTEN:8081,fork' })],
    ['agent', draft('taken', { agents: ['edge-2'] })],
    ['limit', draft('taken', { limits: { maxConnections: 3 } })],
    ['label', draft('taken', {}, { labels: { x: 'y' } })],
  ])('of another %s under the same name is a conflict', async (_, other) => {
    await create(controller, draft('taken'))
    await expect(create(controller, other)).rejects.toMatchObject({ code: 'conflict', what: 'relay/taken' })
  })

  test('of two at once that differ, one wins', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) =>
        create(controller, draft('raced', { targets: [`TCP4:127.0.0.1:${i + 1}`] })),
      ),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const each of outcomes)
      if (each.status === 'rejected') expect(each.reason).toMatchObject({ code: 'conflict' })
  })

  test('of many at once that are equal, all get the same relay', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => create(controller, draft('together'))))
    expect(new Set(all.map(({ relay }) => relay.id)).size).toBe(1)
    expect(all.filter(({ unchanged }) => !unchanged)).toHaveLength(1)
  })

  test('as a dry run checks everything and writes nothing', async () => {
    const { relay, unchanged } = await create(controller, draft('dry'), { dryRun: true })
    expect([relay.name, unchanged]).toEqual(['dry', false])
    expect(await names()).not.toContain('dry')
    await expect(
      create(controller, draft('dry', { targets: ['TCPP:x:1'] }), { dryRun: true }),
    ).rejects.toMatchObject({
      code: 'usage',
    })
  })

  test('remembers who made it and why, under an id that a later one of the name does not get', async () => {
    const { relay } = await create(controller, draft('signed', {}, { reason: 'for the audit' }))
    expect(relay).toMatchObject({ createdBy: 'admin', reason: 'for the audit', generation: 1n })
    await revoke(controller, 'relay/signed')
    const { relay: second } = await create(controller, draft('signed'))
    expect(second.id).not.toBe(relay.id)
  })
})

describe('refuses', () => {
  test.each<[string, RelayDraft, object]>([
    [
      'an unknown agent',
      draft('x', { agents: ['edge-11'] }),
      { code: 'not-found', what: 'agent/edge-11', fix: 'Did you mean `edge-1`?' },
    ],
    [
      'agents beside a selector',
      draft('x', { agents: ['edge-1'], selector: 'a=b' }),
      { code: 'usage', why: 'it has both agents and a selector' },
    ],
    ['neither', draft('x', { selector: '' }), { code: 'usage', fix: 'Add --on edge-1, or -l SELECTOR' }],
    ['a malformed selector', draft('x', { selector: 'a=(' }), { code: 'usage', what: 'selector `a=(`' }],
    ['no target', draft('x', { targets: [] }), { code: 'usage', why: 'it has no target address' }],
    ['no spec', RelayDraft.fromPartial({ name: 'x' }), { code: 'usage', why: 'it has no spec' }],
    [
      'an unknown kind of address',
      draft('x', { targets: ['TPC4:a:1'] }),
      { code: 'usage', fix: expect.stringContaining('TCP4') },
    ],
    ['a target to listen at', draft('x', { listen: 'TCP4:a:1' }), { code: 'usage' }],
    ['a listener as target', draft('x', { targets: ['TCP4-LISTEN:1'] }), { code: 'usage' }],
    [
      'an unknown option',
      draft('x', { listen: 'TCP4-LISTEN:1,frok' }),
      { code: 'usage', fix: expect.stringContaining('fork') },
    ],
    ['a network that is none', draft('x', { limits: { allowFrom: ['10.0.0.0/33'] } }), { code: 'usage' }],
    [
      'a negative rate',
      draft('x', { limits: { ratePerSecond: -1 } }),
      { code: 'usage', why: expect.stringContaining('rate') },
    ],
    [
      'an endless rate',
      draft('x', { limits: { ratePerSecond: Number.POSITIVE_INFINITY } }),
      { code: 'usage' },
    ],
    [
      'a negative timeout',
      draft('x', { limits: { idleTimeout: toDuration(-1) } }),
      { code: 'usage', why: expect.stringContaining('idle timeout') },
    ],
    ['a label that cannot be selected', draft('x', {}, { labels: { 'a b': 'c' } }), { code: 'usage' }],
    ['hostile labels', draft('x', {}, { labels: { a: '\u001b[2J' } }), { code: 'usage' }],
  ])('%s', async (_, wanted, error) => {
    await expect(create(controller, wanted)).rejects.toMatchObject(error)
    await expect(apply(controller, [wanted])).rejects.toMatchObject(error)
  })

  test.each(['', 'A', 'a_b', 'a/b', '-a', 'a-', '../x', 'a b', 'a\nb', 'x'.repeat(64), 'ä'])(
    'the name %j',
    async name => {
      await expect(create(controller, draft(name))).rejects.toMatchObject({ code: 'usage' })
    },
  )

  test('a name of a megabyte, in an answer that arrives', async () => {
    await expect(create(controller, draft('X'.repeat(2 ** 20)))).rejects.toMatchObject({
      code: 'usage',
      why: expect.stringContaining('1 to 63'),
    })
  })
})

describe('apply', () => {
  test('creates, changes and leaves alone, and a second time leaves all alone', async () => {
    await create(controller, draft('kept', {}, { labels: { app: 'one' } }))
    await create(controller, draft('moved', {}, { labels: { app: 'one' } }))
    const drafts = [
      draft('kept', {}, { labels: { app: 'one' } }),
      draft('moved', { targets: ['TCP4:127.0.0.1:81'] }, { labels: { app: 'one' } }),
      draft('fresh', {}, { labels: { app: 'one' } }),
    ]
    const wanted = [
      [ChangeKind.UNCHANGED, 'kept'],
      [ChangeKind.UPDATED, 'moved'],
      [ChangeKind.CREATED, 'fresh'],
    ]
    expect(kinds(await apply(controller, drafts, { dryRun: true }))).toEqual(wanted)
    expect(await names()).not.toContain('fresh')
    const changes = await apply(controller, drafts)
    expect(kinds(changes)).toEqual(wanted)
    expect(changes[1]).toMatchObject({
      before: { generation: 1n },
      after: { generation: 2n, id: changes[1]!.before!.id },
    })
    expect(kinds(await apply(controller, drafts)).map(([kind]) => kind)).toEqual(
      Array(3).fill(ChangeKind.UNCHANGED),
    )
  })

  test('of other labels alone is a change, and the agents have nothing new to run', async () => {
    await create(controller, draft('relabelled'))
    const [change] = await apply(controller, [draft('relabelled', {}, { labels: { a: 'b' } })])
    expect(change).toMatchObject({ kind: ChangeKind.UPDATED, after: { generation: 1n, labels: { a: 'b' } } })
  })

  test('prunes what matches and is not named, and nothing else', async () => {
    await apply(controller, [
      draft('p-1', {}, { labels: { app: 'two' } }),
      draft('p-2', {}, { labels: { app: 'two' } }),
      draft('p-3', {}, { labels: { app: 'three' } }),
    ])
    const files = [draft('p-1', {}, { labels: { app: 'two' } })]
    const dry = await apply(controller, files, { pruneSelector: 'app=two', dryRun: true })
    expect(kinds(dry)).toEqual([
      [ChangeKind.UNCHANGED, 'p-1'],
      [ChangeKind.PRUNED, 'p-2'],
    ])
    expect(await names()).toContain('p-2')
    const changes = await apply(controller, files, { pruneSelector: 'app=two' })
    expect(changes[1]).toMatchObject({ kind: ChangeKind.PRUNED, revocationId: expect.stringMatching(/^v-/) })
    expect(await names()).toEqual(expect.arrayContaining(['p-1', 'p-3']))
    expect(await names()).not.toContain('p-2')
  })

  test('without a selector does not prune', async () => {
    const request = { drafts: [], prune: true, pruneSelector: '', requestId: '', dryRun: false }
    await expect(controller.admin.ask(c => c.applyRelays, request)).rejects.toMatchObject({
      code: 'usage',
      why: expect.stringContaining('every relay'),
    })
  })

  test('writes nothing when one of the drafts is wrong, or is named twice', async () => {
    const wrong = apply(controller, [draft('w-1'), draft('w-2', { targets: ['NOPE:1'] })])
    await expect(wrong).rejects.toMatchObject({ code: 'usage' })
    await expect(apply(controller, [draft('w-1'), draft('w-1')])).rejects.toMatchObject({
      code: 'usage',
      why: 'the files name it twice',
    })
    expect(await names()).not.toContain('w-1')
  })
})
