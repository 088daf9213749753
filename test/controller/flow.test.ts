import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Direction, DumpFormat, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { apply, create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import { features } from '#wire/features.ts'

let controller: TestController
beforeAll(async () => {
  controller = await openController()
  for (const name of ['edge-1', 'newer', 'older']) await joinAgent(controller, { name })
})
afterAll(() => controller[Symbol.asyncDispose]())

const flow = {
  unidirectional: Direction.FORWARD,
  timestamp: true,
  throttle: 10_000_000n,
  tee: ['TCP4:127.0.0.1:9'],
  dump: { format: DumpFormat.BOTH, file: '/var/log/wire.log', rotateBytes: 65_536n, keep: 3 },
}

async function view(name: string) {
  const { relays } = await controller.admin.ask(c => c.listRelays, {
    filter: { name, agent: '', selector: '' },
  })
  return relays[0]!
}

describe('what happens to the bytes on their way', () => {
  test('is part of the spec: the same twice is unchanged, another is a conflict', async () => {
    await create(controller, draft('flow', flow))
    expect((await create(controller, draft('flow', flow))).unchanged).toBe(true)
    for (const other of [
      { unidirectional: Direction.UNSPECIFIED },
      { timestamp: false },
      { throttle: 1n },
      { tee: [] },
      { dump: undefined },
      { dump: { ...flow.dump, keep: 4 } },
    ]) {
      await expect(create(controller, draft('flow', { ...flow, ...other }))).rejects.toMatchObject({
        code: 'conflict',
      })
    }
  })

  test.each<[string, Parameters<typeof draft>[1], object]>([
    ['a copy to an unknown kind', { tee: ['TPC4:a:1'] }, { fix: expect.stringContaining('TCP4') }],
    ['a copy to a listener', { tee: ['TCP4-LISTEN:1'] }, {}],
    [
      'too many copies',
      { tee: Array.from({ length: 17 }, () => 'DISCARD') },
      { why: '17 copies are more than 16' },
    ],
    ['an unknown direction', { unidirectional: 7 as Direction }, { why: 'there is no such direction' }],
    [
      'copies of what does not go',
      { unidirectional: Direction.BACKWARD, tee: ['DISCARD'] },
      { what: 'tee of relay/x', why: expect.stringContaining('nothing does') },
    ],
    ['a time for what does not go', { unidirectional: Direction.BACKWARD, timestamp: true }, {}],
    ['a rate of any size', { throttle: 2n ** 60n }, { why: 'no host is so fast' }],
    ['a dump of no format', { dump: { file: '/x' } }, { what: 'dump-format of relay/x' }],
    [
      'a file that is nowhere',
      { dump: { format: DumpFormat.HEX, file: 'wire.log' } },
      { what: 'dump-file of relay/x' },
    ],
    [
      'rotation of no file',
      { dump: { format: DumpFormat.HEX, keep: 2 } },
      { why: expect.stringContaining('no file') },
    ],
    [
      'a file that is always full',
      { dump: { format: DumpFormat.HEX, file: '/x', rotateBytes: 10n } },
      { fix: 'Write at least 4KiB' },
    ],
  ])('refuses %s', async (_, spec, error) => {
    await expect(create(controller, draft('x', spec))).rejects.toMatchObject({ code: 'usage', ...error })
  })
})

describe('an agent that does not know a setting', () => {
  test('is not sent the relay, and the relay says why, until it asks for less', async () => {
    const older = await joinAgent(controller, { name: 'older' })
    await using stream = await older.settle({ version: '0.0.9', features: ['throttle'] })
    await create(
      controller,
      draft('part', { agents: ['older'], throttle: 5n, tee: ['DISCARD'], timestamp: true }),
    )
    await create(controller, draft('whole', { agents: ['older'], throttle: 5n }))
    const { changed } = await stream.await('apply')
    expect(changed.map(({ name, throttle }) => [name, throttle])).toEqual([['whole', 5n]])
    const { state, agents } = await view('part')
    expect(state).toBe(RelayState.REJECTED)
    expect(agents[0]!.report).toMatchObject({
      generation: 1n,
      problem: {
        code: 'unsupported',
        what: 'relay/part on older rejected',
        why: 'the agent there runs version 0.0.9, which does not know timestamp, tee',
        fix: expect.stringContaining('Update'),
      },
    })

    await apply(controller, [draft('part', { agents: ['older'], throttle: 5n })])
    expect((await stream.await('apply')).changed.map(({ name }) => name)).toEqual(['part'])
    expect((await view('part')).state).toBe(RelayState.PENDING)

    // What runs already closes when it is asked for more than the agent knows.
    const [change] = await apply(controller, [draft('part', { agents: ['older'], timestamp: true })])
    expect((await stream.await('apply')).removed).toEqual([change?.after?.id])
    expect((await view('part')).state).toBe(RelayState.REJECTED)
  })

  test('is not sent it in the whole either; one that knows all is', async () => {
    const spec = { agents: ['older', 'newer'], ...flow }
    await create(controller, draft('both', spec))
    const [older, newer] = [
      await joinAgent(controller, { name: 'older' }),
      await joinAgent(controller, { name: 'newer' }),
    ]
    await using one = older.attach()
    await using other = newer.attach({ features: [...features] })
    const names = async (stream: typeof one) => (await stream.await('sync')).relays.map(({ name }) => name)
    expect(await names(one)).not.toContain('both')
    const sent = await other.await('sync')
    expect(sent.relays.find(({ name }) => name === 'both')).toMatchObject(flow)
  })
})
