import { expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import { measuredLine, problemOf, readMeasured } from '#relay/measured-lines.ts'
import { type Measured, measure, type Progress } from '#relay/measuring.ts'
import { openContext } from '#test/resources/contexts.ts'

const dial = (service: Measured): Promise<Channel> => bindTarget(service).dialer!.dial(openContext())
const never = () => new AbortController().signal

test('carries exactly the bytes that it was given there, and tells of it on the way', async () => {
  const told: Progress[] = []
  const bounds = { ms: 350, bytes: 2 ** 40 }
  const figures = await measure(dial, bounds, progress => told.push(progress), never())
  expect([...new Set(told.map(({ part }) => part))]).toEqual(expect.arrayContaining(['sent', 'received']))
  // In memory they are done before it is time to tell of them.
  expect(figures.roundTrips.count).toBeGreaterThan(0)
  expect(told.every(({ share }) => share > 0 && share <= 1)).toBe(true)
  expect(figures.received.ms).toBeGreaterThanOrEqual(350)
  const few = await measure(dial, { ms: 60_000, bytes: 100_001 }, () => {}, never())
  expect(few.sent.bytes).toBe(100_001)
  expect(few.received.bytes).toBeGreaterThanOrEqual(100_001)
})

test('rejects with the reason when it is aborted, and closes what it has opened', async () => {
  const opened: Channel[] = []
  const stopping = new AbortController()
  const silent = async () => {
    const [near, far] = memoryPair({ text: 'near' }, { text: 'far' })
    opened.push(near, far)
    stopping.abort(new RelayError('closed', { what: 'the test', why: 'it has seen enough' }))
    return near
  }
  const measuring = measure(silent, { ms: 60_000, bytes: 2 ** 40 }, () => {}, stopping.signal)
  await expect(measuring).rejects.toThrow(/it has seen enough/)
  expect(opened.map(({ stream }) => stream.destroyed)).toEqual([true, true])
})

test('BENCH refuses whoever is no command of an operator, and says which is', async () => {
  const { dialer } = bindTarget('BENCH:db-1')
  await expect(dialer!.dial(openContext())).rejects.toMatchObject({ code: 'unsupported' })
  expect(() => bindTarget('BENCH')).toThrow(/names no agent/)
  expect(() => bindTarget('BENCH:db-1,time=3600')).toThrow(RelayError)
})

test('BENCH goes only where it is let on, and answers with figures', async () => {
  const asked: string[] = []
  const onward = (address: string) => {
    asked.push(address)
    return bindTarget(address.replace('@db-1/', '')).dialer!
  }
  const { dialer } = bindTarget('BENCH:db-1,time=0.1')
  await using channel = await dialer!.dial({ ...openContext(), onward })
  const { roundTrips } = await readMeasured(channel.stream, 'bench', () => {})
  expect(roundTrips.count).toBeGreaterThan(0)
  expect(asked).toEqual(['@db-1/DISCARD', '@db-1/ZERO', '@db-1/ECHO'])
})

test('a problem on the host that measures comes through as it was said there', async () => {
  const problem = new RelayError('denied', { what: '@db-1/ZERO', why: 'its host does not permit it' })
  const lines = async function* () {
    const text = measuredLine(problemOf(problem))
    yield Buffer.from(text.slice(0, 7))
    yield Buffer.from(text.slice(7))
  }
  await expect(readMeasured(lines(), 'bench', () => {})).rejects.toMatchObject({
    code: 'denied',
    message: problem.message,
  })
})

test.each([
  ['nothing', '', /ended before/],
  ['what is no JSON', 'figures\n', /no measurement/],
  ['another JSON', '{"figures":7}\n', /no measurement/],
])('%s from the host that measures is an error', async (_, text, message) => {
  const lines = async function* () {
    yield Buffer.from(text)
  }
  await expect(readMeasured(lines(), 'bench', () => {})).rejects.toThrow(message)
})
