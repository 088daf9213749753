import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { parseAddress } from '#relay/address.ts'
import type { Acceptor } from '#relay/endpoint.ts'
import { openArrivals } from '#relay/endpoints/arrivals.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { RelayError } from '#relay/errors.ts'
import type { Remark } from '#relay/remark.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openTestRelay, type TestRelayParts } from '#test/resources/relays.ts'
import { type FakePort, openFakePort } from '#test/resources/serial/cables.ts'
import { until } from '#test/resources/until.ts'

const dial = ({ path }: FakePort, options: string, cx = openContext()) =>
  bindTarget(`SERIAL:${path},${options}`).dialer!.dial(cx)

const as = (text: string) => openContext({ client: { text } })

test.each(['exclusive', 'share', 'exclusive,replug', 'share,rfc2217'])(
  'who asked for a port for so long (%s) is cut when that is over, and others can have it',
  async options => {
    await using port = await openFakePort()
    await using first = await dial(port, `${options},for=1`)
    const closed = new Promise(resolve => first.stream.on('error', () => {}).once('close', resolve))
    first.stream.resume()
    await closed
    expect(first.stream.errored).toMatchObject({ code: 'expired' })
    await first[Symbol.asyncDispose]()
    await using _second = await dial(port, 'exclusive')
  },
)

test('others are told who has it, and until when', async () => {
  await using port = await openFakePort()
  await using _first = await dial(port, 'exclusive,for=30m', as('ann'))
  const refused = await dial(port, 'exclusive').catch((thrown: RelayError) => thrown)
  expect(refused).toBeInstanceOf(RelayError)
  expect((refused as RelayError).why).toMatch(/in use by ann \(until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\)/)
})

test('the time of who has waited for his turn begins with it', async () => {
  await using port = await openFakePort()
  const first = await dial(port, 'exclusive')
  const waiting = dial(port, 'exclusive,wait=1m,for=30m', as('ann'))
  await sleep(1_100)
  const turnAt = Date.now()
  await first[Symbol.asyncDispose]()
  await using _ann = await waiting
  const { why } = (await dial(port, 'exclusive').catch((thrown: RelayError) => thrown)) as RelayError
  const until = Date.parse(/\(until (.+Z)\)/.exec(why)![1]!)
  // It is written in whole seconds.
  expect(until).toBeGreaterThan(turnAt + 1_800_000 - 1_000)
})

test('who gets the port at once leaves no timer behind that would wait for him', async () => {
  await using port = await openFakePort()
  const { signal } = new AbortController()
  await using _ = await dial(port, 'exclusive,wait=1d', openContext({ signal }))
  await until('nothing waits any more', () => getEventListeners(signal, 'abort').length === 0)
})

test('those who wait get the port one after the other, in the order in which they came', async () => {
  await using port = await openFakePort()
  const first = await dial(port, 'exclusive')
  const got: number[] = []
  const waiting = [1, 2, 3].map(async n => {
    const channel = await dial(port, 'exclusive,wait=1m')
    got.push(n)
    await channel[Symbol.asyncDispose]()
  })
  await expect(dial(port, 'exclusive')).rejects.toThrow(/in use/)
  expect(got).toEqual([])
  await first[Symbol.asyncDispose]()
  await Promise.all(waiting)
  expect(got).toEqual([1, 2, 3])
})

test('who has waited long enough hears who has it, and holds up nobody behind him', async () => {
  await using port = await openFakePort()
  const first = await dial(port, 'exclusive', as('ann'))
  const short = dial(port, 'exclusive,wait=0.3')
  const long = dial(port, 'exclusive,wait=1m')
  await expect(short).rejects.toThrow(/in use by ann/)
  await first[Symbol.asyncDispose]()
  await using _ = await long
})

test('who gives up while he waits is out of the line', async () => {
  await using port = await openFakePort()
  const first = await dial(port, 'exclusive')
  const leaving = new AbortController()
  const left = dial(port, 'exclusive,wait=1m', openContext({ signal: leaving.signal }))
  const next = dial(port, 'exclusive,wait=1m')
  leaving.abort(new RelayError('closed', { what: 'a test', why: 'it has seen enough' }))
  await expect(left).rejects.toThrow(/seen enough/)
  await first[Symbol.asyncDispose]()
  await using _ = await next
})

test('a client that is cut while it waits is out of the line', async () => {
  await using port = await openFakePort()
  await using _first = await dial(port, 'exclusive')
  const [near, far] = memoryPair({ text: 'ann' }, { text: 'the relay' })
  const address = { ...parseAddress('PIPE'), text: 'a test' }
  const acceptor: Acceptor = {
    async listen(cx) {
      const arrivals = openArrivals(cx, { local: 'a test', fork: true, queue: Infinity, close() {} })
      arrivals.offer(near)
      return arrivals
    },
  }
  await using relay = await openTestRelay({
    listen: { address, scope: address, acceptor },
    targets: [`SERIAL:${port.path},wait=1m`],
  })
  await until('it waits', () => relay.opened.length === 1)
  far.abort(new RelayError('reset', { what: 'ann', why: 'she has gone' }))
  await until('it is out', () => relay.closed.length === 1)
  expect(relay.closed).toMatchObject([{ cause: 'failed', error: { code: 'reset' } }])
})

test('whoever takes the writing from another is told of to those who run the fleet', async () => {
  await using port = await openFakePort()
  const remarks: Remark[] = []
  const remark = (each: Remark) => void remarks.push(each)
  await using _ann = await dial(port, 'share', openContext({ client: { text: 'ann' }, remark }))
  expect(remarks).toEqual([])
  const bob = openContext({ client: { text: 'bob' }, connectionId: 'c-2', remark })
  await using _bob = await dial(port, 'take-over', bob)
  await until('it is told', () => remarks.length > 0)
  expect(remarks).toEqual([
    {
      event: 'serial.taken-over',
      subject: `SERIAL:${port.path}`,
      text: 'bob took the writing from ann',
      connectionId: 'c-2',
    },
  ])
})

test('an alert is raised with nobody there, and once for each line whoever is', async () => {
  await using port = await openFakePort()
  const remarks: Remark[] = []
  const cx = openContext({ remark: each => void remarks.push(each) })
  const target = bindTarget(`SERIAL:${port.path},alert=panic|Oops`)
  const attended = await target.attend!(cx)
  port.far.write('all is well\nkernel panic\n')
  await until('it is raised', () => remarks.length === 1)
  const channel = await target.dialer!.dial(cx)
  port.far.write('Oops\nall is well\nOops\n')
  await until('both are raised', () => remarks.length === 3)
  expect(remarks.map(({ event, text }) => `${event}: ${text}`)).toEqual([
    'serial.alert: kernel panic',
    'serial.alert: Oops',
    'serial.alert: Oops',
  ])
  await channel[Symbol.asyncDispose]()
  await attended[Symbol.asyncDispose]()
})

test.each<[string, (port: string) => Pick<TestRelayParts, 'listen' | 'targets' | 'flow'>]>([
  ['listens at', port => ({ listen: port, targets: ['PIPE'] })],
  ['copies into', port => ({ targets: ['PIPE'], flow: { tee: [bindTarget(port)] } })],
  ['connects to', port => ({ targets: [port] })],
  ['connects to once', port => ({ listen: 'PIPE', targets: [port] })],
])('an alert is raised of a port that a relay %s', async (_, parts) => {
  await using port = await openFakePort()
  const plan = parts(`SERIAL:${port.path},alert=panic`)
  await using relay = await openTestRelay(plan)
  await until('its one connection is there', () => !plan.listen || relay.opened.length === 1)
  port.far.write('kernel panic\n')
  await until('it is raised', () => relay.remarks.length === 1)
  expect(relay.remarks).toMatchObject([{ event: 'serial.alert', text: 'kernel panic' }])
})

test.each<[string, RegExp]>([
  ['alert=+', /Nothing to repeat/],
  ['alert=panic,exclusive', /`alert` has the port open for itself too/],
  ['for=0', /shorter than/],
  ['wait=soon', /not a duration/],
])('SERIAL with %s says what is wrong', (options, why) => {
  expect(() => bindTarget(`SERIAL:/dev/ttyS0,${options}`)).toThrow(why)
})
