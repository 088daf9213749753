import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { WatchDumpResponse } from '#gen/fleetcat/v1/operator.ts'
import { Connection, Direction, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController, type TestOperator } from '#test/resources/fleet.ts'
import type { ScriptedAgent } from '#test/resources/scripted-agent.ts'
import { until } from '#test/resources/until.ts'
import { messages } from '#wire/call.ts'
import { features } from '#wire/features.ts'

const able = { features: [...features] }
const over = new RelayError('closed', { what: 'conn/c-1', why: 'it is over' })

let controller: TestController
let edge: ScriptedAgent
let other: ScriptedAgent
beforeAll(async () => {
  controller = await openController()
  edge = await joinAgent(controller, { name: 'edge-1' })
  other = await joinAgent(controller, { name: 'edge-2' })
})
afterAll(() => controller[Symbol.asyncDispose]())

type Said = NonNullable<WatchDumpResponse['message']>
type Value<K extends Said['$case']> = Extract<Said, { $case: K }>['value']

/** An operator who looks; disposal is Ctrl-C. */
function look(target: string, more: { agent?: string; direction?: Direction; by?: TestOperator } = {}) {
  const { agent = '', direction = Direction.UNSPECIFIED, by = controller.admin } = more
  const call = by.client.watchDump({ target, agent, direction })
  const stream = messages(call, 'dump')
  return {
    call,
    async hear<K extends Said['$case']>(kind: K): Promise<Value<K>> {
      const { value } = await stream.next()
      if (value?.message?.$case !== kind) throw new Error(`${JSON.stringify(value)} is no ${kind}`)
      return value.message.value as Value<K>
    },
    end: () => stream.next(),
    [Symbol.asyncDispose]: async () => void (await stream.return()),
  }
}

const frame = (text: string, connectionId = 'c-1') => ({
  connectionId,
  data: Buffer.from(text),
  at: new Date(),
})
const textOf = ({ frames }: Value<'dump'>) => frames.map(({ data }) => Buffer.from(data).toString())

test('what an agent shows goes to the operator who asked, and the log says who looked', async () => {
  await using stream = await edge.settle(able)
  const { relay } = await create(controller, draft('seen'))
  await using eye = look('relay/seen', { direction: Direction.FORWARD })
  expect(await eye.hear('begun')).toEqual({ relay: 'seen', agents: ['edge-1'], format: 0 })
  const order = await stream.await('dump')
  expect(order).toMatchObject({
    relayId: relay.id,
    connectionId: '',
    direction: Direction.FORWARD,
    by: 'operator/admin',
  })
  await using dump = edge.showDump(order.dumpId)
  void dump.show(frame('one'), frame('two'))
  expect(textOf(await eye.hear('dump'))).toEqual(['one', 'two'])
  dump.finish(over)
  expect(await eye.hear('ended')).toMatchObject({ agent: 'edge-1', problem: { code: 'closed' } })
  expect(await eye.end()).toEqual({ done: true, value: undefined })
  expect(await dump.ended).toBeUndefined()
  const about = { by: 'operator/admin', target: 'relay/seen', relay: 'seen', dump: order.dumpId }
  expect(controller.events('dump.began').at(-1)).toMatchObject(about)
  expect(controller.events('dump.ended').at(-1)).toMatchObject({ ...about, bytes: 6 })
})

test('one connection is looked at where it is', async () => {
  await using stream = await edge.settle(able)
  await using _ = await other.settle(able)
  const { relay } = await create(controller, draft('talked', { agents: ['edge-1', 'edge-2'] }))
  await stream.await('apply')
  const opened = [Connection.fromPartial({ id: 'c-9', relayId: relay.id, openedAt: new Date() })]
  stream.send({
    $case: 'connections',
    value: { snapshot: false, opened, closed: [], traffic: [], brief: 0n },
  })
  await until('it is listed', async () => {
    const { connections } = await controller.admin.ask(c => c.listConnections, { filter: undefined })
    return connections.length > 0
  })
  await using eye = look('conn/c-9')
  expect((await eye.hear('begun')).agents).toEqual(['edge-1'])
  expect(await stream.await('dump')).toMatchObject({ relayId: relay.id, connectionId: 'c-9' })
  await using elsewhere = look('conn/c-9', { agent: 'edge-2' })
  await expect(elsewhere.end()).rejects.toMatchObject({ code: 'not-found', what: 'conn/c-9 on edge-2' })
})

test('whoever presses Ctrl-C ends what the agent sends', async () => {
  await using stream = await edge.settle(able)
  await create(controller, draft('left'))
  const eye = look('relay/left')
  await eye.hear('begun')
  await using dump = edge.showDump((await stream.await('dump')).dumpId)
  await dump.show(frame('one'))
  await eye.hear('dump')
  await eye[Symbol.asyncDispose]()
  expect(await dump.ended).toBeUndefined()
})

test('a revocation ends it, whatever the agent still says', async () => {
  await using stream = await edge.settle(able)
  await create(controller, draft('cut'))
  await using eye = look('relay/cut')
  await eye.hear('begun')
  await using dump = edge.showDump((await stream.await('dump')).dumpId)
  await dump.show(frame('one'))
  await eye.hear('dump')
  await revoke(controller, 'relay/cut')
  expect(await eye.hear('ended')).toMatchObject({ problem: { code: 'revoked', what: 'relay/cut' } })
  expect((await eye.end()).done).toBe(true)
  await dump.ended
})

test('an agent that is lost ends its part, one that comes back is asked again', async () => {
  await using first = await edge.settle(able)
  await create(controller, draft('wide', { agents: ['edge-1', 'edge-2'] }))
  await using eye = look('relay/wide')
  expect((await eye.hear('begun')).agents).toEqual(['edge-1'])
  const one = edge.showDump((await first.await('dump')).dumpId)

  await using second = await other.settle(able)
  const { dumpId } = await second.await('dump')
  const two = other.showDump(dumpId)
  void two.show(frame('from two'))
  expect(await eye.hear('dump')).toMatchObject({ agent: 'edge-2' })
  await two[Symbol.asyncDispose]()
  expect(await eye.hear('ended')).toMatchObject({ agent: 'edge-2', problem: { code: 'unavailable' } })

  await second[Symbol.asyncDispose]()
  await using again = await other.settle(able)
  await using three = other.showDump((await again.await('dump')).dumpId)
  void three.show(frame('again'))
  expect(textOf(await eye.hear('dump'))).toEqual(['again'])
  await one[Symbol.asyncDispose]()
  expect(await eye.hear('ended')).toMatchObject({ agent: 'edge-1' })
})

test('an operator who does not read holds up neither receipts nor reports, and costs no memory', async () => {
  await using stream = await edge.settle(able)
  const { relay } = await create(controller, draft('stalled'))
  await create(controller, draft('ended'))
  await using eye = look('relay/stalled')
  await eye.hear('begun')
  eye.call.pause()
  await using dump = edge.showDump((await stream.await('dump')).dumpId)
  let taken = 0
  let writing: Promise<void> = Promise.resolve()
  const piece = { ...frame(''), data: Buffer.alloc(64 * 1024) }
  for (let i = 0; i < 1_000; i++) writing = writing.then(() => dump.show(piece)).then(() => void taken++)

  const { revocation } = await revoke(controller, 'relay/ended')
  const revokeOrder = await stream.await('revoke')
  expect(revokeOrder.revocationId).toBe(revocation.id)
  stream.send({
    $case: 'receipt',
    value: {
      revocationId: revocation.id,
      listenersClosed: 1,
      connectionsCut: 0,
      took: undefined,
      at: new Date(),
      problem: undefined,
      warning: undefined,
    },
  })
  stream.send({
    $case: 'reports',
    value: {
      reports: [
        {
          relayId: relay.id,
          generation: 1n,
          state: RelayState.READY,
          local: [],
          problem: undefined,
          retryAt: undefined,
          trace: [],
          refusals: {},
          targets: [],
        },
      ],
    },
  })
  await until('the report is in', async () => {
    const filter = { name: 'stalled', agent: '', selector: '' }
    const { relays } = await controller.admin.ask(c => c.listRelays, { filter })
    return relays[0]!.state === RelayState.READY
  })
  const { revocations } = await controller.admin.ask(c => c.listRevocations, { id: revocation.id })
  expect(revocations[0]!.verdicts[0]!.receipt).toBeDefined()
  let before = -1
  while (before !== taken) {
    before = taken
    for (let i = 0; i < 50; i++) await controller.admin.ask(c => c.whoAmI, {})
  }
  // What the two streams and their windows hold, and no more.
  expect(taken).toBeLessThan(100)
})

describe('refuses', () => {
  test.each([
    ['relay/seem', { code: 'not-found', fix: 'Did you mean relay/seen?' }],
    ['conn/c-none', { code: 'not-found' }],
    ['agent/edge-1', { code: 'usage', fix: 'Write relay/NAME or conn/ID' }],
    ['seen', { code: 'usage', fix: 'For a relay write relay/seen' }],
    ['relay/seen', { code: 'unavailable', why: expect.stringContaining('connected') }],
  ])('%s', async (target, error) => {
    await using eye = look(target)
    await expect(eye.end()).rejects.toMatchObject(error)
  })

  test('an agent that cannot: it says so', async () => {
    await using _ = await edge.settle({ version: '0.0.9' })
    await using eye = look('relay/seen')
    await eye.hear('begun')
    expect(await eye.hear('ended')).toMatchObject({
      problem: { code: 'unsupported', why: expect.stringContaining('0.0.9') },
    })
    expect((await eye.end()).done).toBe(true)
  })

  test('a dump that was not asked for, and one of another agent', async () => {
    await using stream = await edge.settle(able)
    await using eye = look('relay/seen')
    await eye.hear('begun')
    const { dumpId } = await stream.await('dump')
    await using stolen = other.showDump(dumpId)
    expect(await stolen.ended).toMatchObject({ code: 'not-found' })
    await using invented = edge.showDump('no such dump')
    expect(await invented.ended).toMatchObject({ code: 'not-found' })
    await using right = edge.showDump(dumpId)
    void right.show(frame('mine'))
    expect(textOf(await eye.hear('dump'))).toEqual(['mine'])
    await using twice = edge.showDump(dumpId)
    expect(await twice.ended).toMatchObject({ code: 'not-found' })
  })

  test('more at a time than one operator can look at', async () => {
    await using _ = await edge.settle(able)
    await using eyes = new AsyncDisposableStack()
    for (let i = 0; i < 8; i++) await eyes.use(look('relay/seen')).hear('begun')
    await using ninth = look('relay/seen')
    await expect(ninth.end()).rejects.toMatchObject({ code: 'exhausted' })
  })
})
