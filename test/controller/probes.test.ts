import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ProbeAnswer } from '#gen/fleetcat/v1/agent.ts'
import { ProbeRequest, type ProbeResponse } from '#gen/fleetcat/v1/operator.ts'
import { ProbeResult, ProbeVerdict } from '#gen/fleetcat/v1/relay.ts'
import { revoke } from '#test/resources/drafts.ts'
import {
  joinAgent,
  openController,
  openOperator,
  type TestController,
  type TestOperator,
} from '#test/resources/fleet.ts'
import type { AgentStream, ScriptedAgent } from '#test/resources/scripted-agent.ts'
import { until } from '#test/resources/until.ts'
import { messages } from '#wire/call.ts'
import { toDuration } from '#wire/duration.ts'
import { features } from '#wire/features.ts'

const able = { features: [...features] }
const address = 'TCP4:10.0.0.9:5432'

let controller: TestController
let edge: ScriptedAgent
let other: ScriptedAgent
beforeAll(async () => {
  controller = await openController()
  edge = await joinAgent(controller, { name: 'edge-1', labels: { site: 'paris' } })
  other = await joinAgent(controller, { name: 'edge-2', labels: { site: 'paris' } })
})
afterAll(() => controller[Symbol.asyncDispose]())

type Asked = Partial<ProbeRequest> & { by?: TestOperator }

/** An operator who probes; disposal is Ctrl-C. */
function probe({ by = controller.admin, ...more }: Asked = {}) {
  const which = more.agents || more.selector ? {} : { agents: ['edge-1'] }
  const request = ProbeRequest.fromPartial({ address, timeout: toDuration(1_000), ...which, ...more })
  const stream = messages(by.client.probe(request), 'probe')
  const next = async () => (await stream.next()).value as ProbeResponse | undefined
  return {
    async begun() {
      const message = (await next())?.message
      return message?.$case === 'begun' ? message.value.agents : undefined
    },
    async result() {
      const message = (await next())?.message
      return message?.$case === 'result' ? message.value : undefined
    },
    end: () => stream.next(),
    [Symbol.asyncDispose]: async () => void (await stream.return()),
  }
}

const answer = (stream: AgentStream, probeId: string, result: Partial<ProbeResult> = {}) => {
  const value = { verdict: ProbeVerdict.OPEN, ip: '10.0.0.9', connect: toDuration(1.5), ...result }
  stream.send({ $case: 'probe', value: { probeId, result: ProbeResult.fromPartial(value) } })
}

test('each agent that matches is asked once, and the log of the fleet says who asked, and for what', async () => {
  await using first = await edge.settle(able)
  await using second = await other.settle(able)
  await using probing = probe({ selector: 'site=paris', expectByte: true })
  expect(await probing.begun()).toEqual(['edge-1', 'edge-2'])
  const order = await first.await('probe')
  expect(order).toMatchObject({ address, timeout: toDuration(1_000), expectByte: true, by: 'operator/admin' })
  answer(second, (await second.await('probe')).probeId, { verdict: ProbeVerdict.REFUSED })
  expect(await probing.result()).toMatchObject({ agent: 'edge-2', result: { verdict: ProbeVerdict.REFUSED } })
  answer(first, order.probeId)
  expect(await probing.result()).toMatchObject({
    agent: 'edge-1',
    result: { verdict: ProbeVerdict.OPEN, ip: '10.0.0.9', connect: toDuration(1.5) },
  })
  expect((await probing.end()).done).toBe(true)
  expect(controller.events('probed').at(-1)).toMatchObject({
    by: 'operator/admin',
    probe: order.probeId,
    address,
    selector: 'site=paris',
    agents: ['edge-1', 'edge-2'],
    count: 2,
  })
})

describe('there is one word of each agent', () => {
  test('unreachable of one that is not attached, unsupported of one that is too old', async () => {
    await using _ = await edge.settle({ version: '0.0.1', features: [] })
    await using probing = probe({ agents: ['edge-1', 'edge-2'] })
    expect(await probing.begun()).toEqual(['edge-1', 'edge-2'])
    const results = [await probing.result(), await probing.result()]
    expect(results).toMatchObject([
      {
        agent: 'edge-1',
        result: { verdict: ProbeVerdict.UNSUPPORTED, problem: { why: expect.stringContaining('0.0.1') } },
      },
      { agent: 'edge-2', result: { verdict: ProbeVerdict.UNREACHABLE, problem: { code: 'unavailable' } } },
    ])
    expect((await probing.end()).done).toBe(true)
  })

  test('unreachable of one that leaves meanwhile', async () => {
    const stream = await edge.settle(able)
    await using probing = probe()
    await probing.begun()
    await stream.await('probe')
    await stream[Symbol.asyncDispose]()
    expect((await probing.result())?.result).toMatchObject({
      verdict: ProbeVerdict.UNREACHABLE,
      problem: { why: 'its session was lost meanwhile' },
    })
  })

  test('unreachable of one that does not answer in time, and what it says later is passed over', async () => {
    await using stream = await edge.settle(able)
    await using probing = probe({ timeout: toDuration(10) })
    await probing.begun()
    const { probeId } = await stream.await('probe')
    expect((await probing.result())?.result).toMatchObject({
      verdict: ProbeVerdict.UNREACHABLE,
      problem: { why: 'it did not answer within 3.01 s' },
    })
    expect((await probing.end()).done).toBe(true)
    answer(stream, probeId)
    await stillThere(stream)
  })

  test('only the first word counts, and only of an agent that was asked', async () => {
    await using stream = await edge.settle(able)
    await using foreign = await other.settle(able)
    await using probing = probe()
    await probing.begun()
    const { probeId } = await stream.await('probe')
    answer(foreign, probeId, { verdict: ProbeVerdict.REFUSED })
    await stillThere(foreign)
    answer(stream, probeId, { verdict: ProbeVerdict.SILENT })
    answer(stream, probeId)
    expect(await probing.result()).toMatchObject({
      agent: 'edge-1',
      result: { verdict: ProbeVerdict.SILENT },
    })
    expect((await probing.end()).done).toBe(true)
    await stillThere(stream)
  })

  test('one that hands over its session answers over the new one', async () => {
    await using old = await edge.settle(able)
    await using probing = probe()
    await probing.begun()
    const { probeId } = await old.await('probe')
    await using next = await edge.settle(able)
    answer(next, probeId)
    expect((await probing.result())?.result?.verdict).toBe(ProbeVerdict.OPEN)
  })
})

/** It has been heard, and not sent away for it. */
async function stillThere(stream: AgentStream) {
  stream.send({ $case: 'leaseRequest', value: { nonce: 7n } })
  await stream.await('lease')
}

describe('an agent whose words make no sense is sent away', () => {
  const nonsense: [string, Partial<ProbeAnswer>][] = [
    ['an endless id', { probeId: 'x'.repeat(65) }],
    ['no result', { result: undefined }],
    ['the controller’s own verdict', { result: { verdict: ProbeVerdict.UNREACHABLE } as ProbeResult }],
    ['an unknown verdict', { result: { verdict: 99 } as unknown as ProbeResult }],
    [
      'a time before it began',
      { result: { verdict: ProbeVerdict.OPEN, tls: toDuration(-1) } as ProbeResult },
    ],
    [
      'a time of years',
      { result: { verdict: ProbeVerdict.OPEN, took: { seconds: 1n << 40n, nanos: 0 } } as ProbeResult },
    ],
  ]
  test.each(nonsense)('%s', async (_, said) => {
    await using stream = await edge.settle(able)
    const value = { probeId: 'p', ...said }
    const result =
      'result' in said ? said.result && ProbeResult.fromPartial(said.result) : ProbeResult.fromPartial({})
    stream.send({ $case: 'probe', value: { ...value, result } })
    expect(await stream.ended).toMatchObject({ code: 'usage', what: 'ProbeAnswer' })
  })

  test('text that never ends is cut before anybody sees it', async () => {
    await using stream = await edge.settle(able)
    await using probing = probe()
    await probing.begun()
    const { probeId } = await stream.await('probe')
    const long = 'y'.repeat(100_000)
    const problem = { code: long, what: long, why: long, fix: long }
    answer(stream, probeId, { verdict: ProbeVerdict.FAILED, ip: long, problem })
    const { result } = (await probing.result())!
    expect(JSON.stringify({ ip: result!.ip, problem: result!.problem }).length).toBeLessThan(4_096)
  })
})

describe('what is asked in the wrong way is refused before any agent hears of it', () => {
  const wrong: [string, Asked, object][] = [
    ['a word that is none', { address: 'TPC4:10.0.0.9:80' }, { code: 'usage', fix: 'Did you mean `TCP4`?' }],
    ['a program', { address: 'EXEC:/bin/true' }, { code: 'usage' }],
    ['no time', { timeout: undefined }, { code: 'usage' }],
    ['too much time', { timeout: toDuration(10_001) }, { code: 'usage' }],
    ['both agents and a selector', { agents: ['edge-1'], selector: 'site=paris' }, { code: 'usage' }],
    ['a selector that makes no sense', { selector: 'site=(' }, { code: 'usage' }],
    ['a selector that nobody matches', { selector: 'site=rome' }, { code: 'not-found' }],
    ['an agent that is none', { agents: ['edge-11'] }, { code: 'not-found', fix: 'Did you mean `edge-1`?' }],
  ]
  test.each(wrong)('%s', async (_, asked, error) => {
    const before = controller.events('probed').length
    await using probing = probe(asked)
    await expect(probing.begun()).rejects.toMatchObject(error)
    expect(controller.events('probed')).toHaveLength(before)
  })

  test('a request for no agent at all', async () => {
    await using probing = probe({ agents: [], selector: '' })
    await expect(probing.begun()).rejects.toMatchObject({ code: 'usage' })
  })

  test('by a viewer', async () => {
    using viewer = await openOperator(controller, 'viewer')
    await using probing = probe({ by: viewer })
    await expect(probing.begun()).rejects.toMatchObject({ code: 'denied' })
  })

  test('of an agent that was revoked', async () => {
    await joinAgent(controller, { name: 'gone', labels: { site: 'oslo' } })
    await revoke(controller, 'agent/gone')
    await using byName = probe({ agents: ['gone'] })
    await expect(byName.begun()).rejects.toMatchObject({ code: 'revoked' })
    await using byLabel = probe({ selector: 'site=oslo' })
    await expect(byLabel.begun()).rejects.toMatchObject({ code: 'not-found' })
  })
})

test('an operator has eight at a time, and room again when one is over or was left', async () => {
  await using stream = await edge.settle(able)
  await using held = new AsyncDisposableStack()
  const probings = Array.from({ length: 8 }, () => held.use(probe()))
  for (const each of probings) expect(await each.begun()).toEqual(['edge-1'])
  await using more = probe()
  await expect(more.begun()).rejects.toMatchObject({ code: 'exhausted' })
  await probings[0]![Symbol.asyncDispose]()
  await until('there is room', async () => {
    await using next = probe()
    return (await next.begun())?.length === 1
  })
  await stillThere(stream)
})

test('an agent that reads nothing is given no more orders than it can be behind', async () => {
  await using stream = await edge.settle(able)
  stream.pause()
  for (let i = 0; i < 20; i++) {
    await using probing = probe()
    await probing.begun()
  }
  stream.resume()
  for (let i = 0; i < 20; i++) await stream.await('probe')
})
