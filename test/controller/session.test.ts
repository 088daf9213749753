import { describe, expect, test } from 'vitest'
import { openMirror } from '#controller/mirror.ts'
import { openPlacement } from '#controller/placement.ts'
import { openSession } from '#controller/session.ts'
import { openMemoryStore } from '#controller/store/memory.ts'
import { Hello } from '#gen/fleetcat/v1/agent.ts'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { createCsr } from '#identity/csr.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { logTo } from '#telemetry/log.ts'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import { heapInUse } from '#test/resources/memory.ts'
import { until } from '#test/resources/until.ts'
import { toDuration, toMilliseconds } from '#wire/duration.ts'

const hello = (bootId: string) => ({ $case: 'hello', value: Hello.fromPartial({ bootId }) }) as const

async function agentView({ admin }: TestController, name: string) {
  return (await admin.ask(c => c.listAgents, { selector: '', name })).agents[0]!
}

describe('what an agent is told to run', () => {
  test('all that is its own when it attaches, and after that each change', async () => {
    await using controller = await openController()
    const [edge, other] = [
      await joinAgent(controller, { name: 'edge-1' }),
      await joinAgent(controller, { name: 'edge-2' }),
    ]
    const { relay } = await create(controller, draft('web'))
    await using stream = edge.attach()
    await stream.hear('welcome')
    const sync = await stream.hear('sync')
    expect(sync.relays).toMatchObject([
      { relayId: relay.id, name: 'web', generation: 1n, targets: ['TCP4:127.0.0.1:80'] },
    ])
    await using bystander = await other.settle()

    const { relay: dns } = await create(controller, draft('dns'))
    const apply1 = await stream.hear('apply')
    expect(apply1.changed).toMatchObject([{ relayId: dns.id }])
    expect(apply1.revision).toBeGreaterThan(sync.revision)

    await apply(controller, [draft('web', { targets: ['TCP4:127.0.0.1:81'] })])
    expect((await stream.hear('apply')).changed).toMatchObject([
      { relayId: relay.id, generation: 2n, targets: ['TCP4:127.0.0.1:81'] },
    ])

    await apply(controller, [draft('web', { agents: ['edge-2'] })])
    expect(await stream.hear('apply')).toMatchObject({ changed: [], removed: [relay.id] })
    expect((await bystander.hear('apply')).changed).toMatchObject([{ relayId: relay.id, generation: 3n }])
    expect(bystander.unheard).toEqual([])
  })

  test('what its labels select, those of its host only as such, and hosts that join later too', async () => {
    await using controller = await openController()
    await create(controller, draft('db', { selector: 'role=db' }))
    await create(controller, draft('linux', { selector: 'host.os=linux' }))
    await create(controller, draft('liar', { selector: 'site=paris' }))
    const edge = await joinAgent(controller, { name: 'edge-1', labels: { role: 'db' } })
    await using stream = edge.attach({ hostLabels: { os: 'linux', site: 'paris', 'host.role': 'web' } })
    await stream.hear('welcome')
    const { relays } = await stream.hear('sync')
    expect(relays.map(({ name }) => name).sort()).toEqual(['db', 'linux'])
    expect(await agentView(controller, 'edge-1')).toMatchObject({ labels: { role: 'db' }, relays: 2 })
  })

  test('other labels of its host place other relays', async () => {
    await using controller = await openController()
    await create(controller, draft('gpu', { selector: 'host.gpu' }))
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const first = await edge.settle({ hostLabels: { os: 'x' } })
    const { revision } = await controller.admin.ask(c => c.getStatus, {})
    await first[Symbol.asyncDispose]()
    await using second = edge.attach({ hostLabels: { os: 'x', gpu: '' }, epoch: 1n, revision })
    expect(await second.hear('welcome')).toMatchObject({ resumed: false })
    expect((await second.hear('sync')).relays).toMatchObject([{ name: 'gpu' }])
  })

  test('an order to cut goes ahead of whatever else waits', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, draft('web'))
    await using stream = await edge.settle()
    stream.pause()
    await fill(controller, 20)
    await revoke(controller, 'relay/web')
    await apply(controller, [draft('last')])
    stream.resume()
    await until('all is heard', () => stream.unheard.some(isAbout('last')))
    const orderAt = stream.unheard.findIndex(({ $case }) => $case === 'revoke')
    expect(stream.unheard[orderAt]).toMatchObject({
      value: { target: { $case: 'relayId', value: relay.id } },
    })
    // What had left before the pipe was full cannot be overtaken; all else was.
    expect(stream.unheard.findIndex(isAbout('last'))).toBeGreaterThan(orderAt)
  })
})

const isAbout = (name: string) => (message: { $case: string; value: unknown }) =>
  message.$case === 'apply' &&
  (message.value as { changed: { name: string }[] }).changed.some(each => each.name === name)

/** Changes of big relays, until the pipe to an agent that does not read is full. */
async function fill(controller: TestController, count: number): Promise<void> {
  const wide = Array.from({ length: 400 }, (_, i) => `TCP4:127.0.0.1:${i + 1}`)
  for (let i = 0; i < count; i++)
    await apply(controller, [draft('wide', { targets: [...wide, `TCP4:127.0.0.1:${20_000 + i}`] })])
}

test('an agent that does not read gets the newest state, not a queue, and costs no memory', async () => {
  await using controller = await openController({ logLevel: 'warn' })
  const edge = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await edge.settle()
  stream.pause()
  await fill(controller, 50)
  const before = heapInUse()
  await fill(controller, 300)
  const grown = (heapInUse() - before) / 2 ** 20
  console.log(`300 changes of 9 kB each behind an agent that does not read: heap +${grown.toFixed(1)} MiB`)
  expect(grown).toBeLessThan(8)
  stream.resume()
  await apply(controller, [draft('last')])
  await until('all is heard', () => stream.unheard.some(isAbout('last')))
  const heard = stream.unheard.filter(isAbout('wide'))
  expect(heard.length).toBeLessThan(300)
  const { relays } = await controller.admin.ask(c => c.listRelays, {
    filter: { name: 'wide', agent: '', selector: '' },
  })
  const newest = heard.at(-1)!.value as { changed: { name: string; generation: bigint }[] }
  expect(newest.changed.find(({ name }) => name === 'wide')!.generation).toBe(relays[0]!.relay!.generation)
})

describe('an agent that comes back', () => {
  test('resumes with only what changed since', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('kept'))
    const { relay: gone } = await create(controller, draft('gone'))
    const first = await edge.settle()
    const { revision } = await controller.admin.ask(c => c.getStatus, {})
    await first[Symbol.asyncDispose]()
    await until('it is lost', () => controller.events('agent.detached').length === 1)
    const { relay: fresh } = await create(controller, draft('fresh'))
    const { revocation } = await revoke(controller, 'relay/gone')

    await using second = edge.attach({ epoch: 1n, revision })
    expect(await second.hear('welcome')).toMatchObject({ resumed: true, epoch: 1n })
    expect(await second.hear('revoke')).toMatchObject({
      revocationId: revocation.id,
      target: { $case: 'relayId', value: gone.id },
    })
    expect(await second.hear('bans')).toEqual({ bans: [] })
    const { changed, removed } = await second.hear('apply')
    expect(changed.map(({ relayId }) => relayId)).toEqual([fresh.id])
    expect(removed).toEqual([gone.id])
  })

  test('hears of nothing but the bans when nothing changed', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const first = await edge.settle()
    const { revision } = await controller.admin.ask(c => c.getStatus, {})
    await first[Symbol.asyncDispose]()
    await using second = edge.attach({ epoch: 1n, revision })
    expect(await second.hear('welcome')).toMatchObject({ resumed: true })
    expect(await second.hear('bans')).toEqual({ bans: [] })
    const { relay } = await create(controller, draft('first-word'))
    expect((await second.hear('apply')).changed).toMatchObject([{ relayId: relay.id }])
  })

  test.each([
    ['from nothing', { epoch: 1n, revision: 0n }],
    ['from the future', { epoch: 1n, revision: 1_000_000n }],
    ['from another epoch', { epoch: 2n, revision: 3n }],
  ])('%s gets the whole', async (_, from) => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await (await edge.settle())[Symbol.asyncDispose]()
    await using second = edge.attach(from)
    expect(await second.hear('welcome')).toMatchObject({ resumed: false })
    await second.hear('sync')
  })

  test('to a controller that was restarted gets the whole', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web'))
    await using first = await edge.settle()
    const { revision } = await controller.admin.ask(c => c.getStatus, {})
    await controller.restart()
    expect(await first.hear('goodbye')).toEqual({ reason: 'shutting-down' })
    await using second = edge.attach({ epoch: 1n, revision })
    expect(await second.hear('welcome')).toMatchObject({ resumed: false })
    expect((await second.hear('sync')).relays).toMatchObject([{ name: 'web' }])
  })
})

describe('one identity, two streams', () => {
  test.each([
    ['later', 1_000],
    ['earlier, for a clock was set back', -3_600_000],
  ])('of two processes the newcomer stays, though it says that it booted %s', async (_, aheadMs) => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using first = await edge.settle()
    await using second = await edge.settle({ bootId: 'other', bootedAt: new Date(Date.now() + aheadMs) })
    expect(await first.hear('goodbye')).toEqual({ reason: 'fenced' })
    expect(await first.ended).toBeUndefined()
    expect(controller.events('alert.duplicate-identity')).toMatchObject([
      { agent: 'edge-1', fenced: edge.bootId },
    ])
    await create(controller, draft('web'))
    await second.hear('apply')
    expect(await agentView(controller, 'edge-1')).toMatchObject({ bootId: 'other', state: 1 })
  })

  test('a process that another has taken over from is fenced when it comes again, whatever it says', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, draft('own'))
    await using older = await edge.settle({ bootId: 'older' })
    await using first = await edge.settle()
    expect(await older.hear('goodbye')).toEqual({ reason: 'fenced' })
    await using late = edge.attach({ bootId: 'older', bootedAt: new Date(Date.now() + 86_400_000) })
    late.send({ $case: 'connections', value: connectionsOf(relay.id, 'c-1') })
    expect(await late.hear('goodbye')).toEqual({ reason: 'fenced' })
    await late.ended
    expect(await agentView(controller, 'edge-1')).toMatchObject({ bootId: edge.bootId, connections: 0 })
    await create(controller, draft('web'))
    await first.hear('apply')
  })

  test('a process that hands over keeps its roster, and the old stream ends', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, draft('own'))
    await using first = await edge.settle()
    first.send({ $case: 'connections', value: connectionsOf(relay.id, 'c-1') })
    await until(
      'the connection is listed',
      async () => (await agentView(controller, 'edge-1')).connections === 1,
    )
    await using second = await edge.settle()
    expect(await first.hear('goodbye')).toEqual({ reason: 'handed-over' })
    await first.ended
    expect(await agentView(controller, 'edge-1')).toMatchObject({ connections: 1, state: 1 })
    expect(controller.events('alert.duplicate-identity')).toEqual([])
    expect(controller.events('agent.detached')).toEqual([])
    await create(controller, draft('web'))
    await second.hear('apply')
  })
})

function connectionsOf(relayId: string, ...ids: string[]) {
  const opened = ids.map(id => ({
    id,
    relayId,
    source: '10.0.0.1:4000',
    target: '127.0.0.1:80',
    tlsIdentity: '',
    openedAt: new Date(),
    idle: undefined,
    bytesIn: 0n,
    bytesOut: 0n,
  }))
  return { snapshot: true, opened, closed: [], traffic: [], brief: 0n }
}

describe('the order of words', () => {
  test('who says no Hello in time is sent away', async () => {
    await using controller = await openController({ config: 'front: {first-call: 300ms}' })
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = edge.open()
    expect(await stream.ended).toMatchObject({ code: 'timed-out', why: 'no Hello came' })
  })

  test('a second Hello, and any word before the first, end the stream', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using twice = await edge.settle()
    twice.send(hello('again'))
    expect(await twice.ended).toMatchObject({ code: 'usage', why: 'a second Hello came' })
    await using early = edge.open()
    early.send({ $case: 'pulse', value: { clock: new Date() } })
    expect(await early.ended).toMatchObject({ code: 'usage', why: 'the first message was not Hello' })
  })

  test('who says goodbye has left, and who just goes is lost', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using polite = await edge.settle()
    polite.send({ $case: 'goodbye', value: { reason: 'shutting-down' } })
    expect(await polite.ended).toBeUndefined()
    await until('it has left', () => controller.events('agent.detached').length === 1)
    const rude = await edge.settle()
    await rude[Symbol.asyncDispose]()
    await until('it is lost', () => controller.events('agent.detached').length === 2)
    expect(controller.events('agent.detached')).toMatchObject([
      { how: 'left', why: 'shutting-down' },
      { how: 'lost' },
    ])
    expect(await agentView(controller, 'edge-1')).toMatchObject({ state: 3, lastHeardAt: expect.any(Date) })
  })
})

describe('what an agent reports', () => {
  test('shows as the state of its relays, and is only the last known once it is lost', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, draft('web'))
    const view = async () => (await controller.admin.ask(c => c.listRelays, { filter: undefined })).relays[0]!
    expect((await view()).state).toBe(RelayState.UNREACHABLE)
    const stream = await edge.settle()
    expect((await view()).state).toBe(RelayState.PENDING)
    const report = {
      relayId: relay.id,
      generation: 1n,
      state: RelayState.READY,
      local: ['0.0.0.0:8080'],
      trace: [],
      refusals: {},
      targets: [],
      problem: undefined,
      retryAt: undefined,
    }
    stream.send({ $case: 'reports', value: { reports: [report] } })
    await until('it is ready', async () => (await view()).state === RelayState.READY)
    expect((await view()).agents[0]).toMatchObject({ agent: 'edge-1', report: { local: ['0.0.0.0:8080'] } })

    await apply(controller, [draft('web', { targets: ['TCP4:127.0.0.1:81'] })])
    expect((await view()).state).toBe(RelayState.PENDING)
    await stream[Symbol.asyncDispose]()
    await until('it is unreachable', async () => (await view()).state === RelayState.UNREACHABLE)
    expect((await view()).agents[0]).toMatchObject({
      report: { state: RelayState.READY },
      lastHeardAt: expect.any(Date),
    })
  })
})

test('a connection on which nothing moves is idle for as long as it is, though the agent says no more', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1' })
  const { relay } = await create(controller, draft('web'))
  await using stream = await edge.settle()
  const { opened, ...events } = connectionsOf(relay.id, 'c-1')
  const quiet = opened.map(each => ({ ...each, idle: toDuration(60_000) }))
  stream.send({ $case: 'connections', value: { ...events, opened: quiet } })
  const idle = async () => {
    const { connections } = await controller.admin.ask(c => c.listConnections, { filter: undefined })
    const shown = connections[0]?.connection?.idle
    return shown ? toMilliseconds(shown) : 0
  }
  await until('it is listed', async () => (await idle()) >= 60_000)
  const before = await idle()
  await until('time passes', async () => (await idle()) > before + 50)
  stream.send({
    $case: 'connections',
    value: {
      ...events,
      snapshot: false,
      opened: [],
      traffic: [{ id: 'c-1', bytesIn: 1n, bytesOut: 1n, idle: toDuration(0) }],
    },
  })
  await until('it moved', async () => (await idle()) < 30_000)
})

test('what cannot be worked out for an agent ends its stream with the reason', async () => {
  await using store = await openMemoryStore()
  await using mirror = await openMirror(store, logTo({ write: () => {} }, 'test', 'silent'))
  const failure = Promise.withResolvers<unknown>()
  openSession({
    agent: 'edge-1',
    bootId: 'b',
    features: [],
    outlet: {
      send() {
        throw new Error('this row makes no sense')
      },
      drained: async () => {},
      end() {},
    },
    mirror,
    placement: openPlacement(mirror, () => ({})),
    welcome: { $case: 'goodbye', value: { reason: '' } },
    placed: undefined,
    failed: failure.resolve,
    leased() {},
    bans: () => [],
    pendingOrders: () => [],
    resume: undefined,
  })
  expect(await failure.promise).toMatchObject({ message: 'this row makes no sense' })
})

describe('certificates', () => {
  test('an agent that has renewed resumes, for nothing of what it has to run is other', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    await create(controller, draft('web'))
    const { revision } = await stream.hear('apply')
    stream.send({
      $case: 'certificateRequest',
      value: { csrDer: await createCsr(await generateKey()) },
    })
    expect((await stream.hear('certificate')).problem).toBeUndefined()
    await using next = edge.attach({ epoch: 1n, revision })
    expect(await next.hear('welcome')).toMatchObject({ resumed: true })
  })

  test('an agent renews over its stream; the old certificate serves until its own end', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    const key = await generateKey()
    stream.send({ $case: 'certificateRequest', value: { csrDer: await createCsr(key) } })
    const grant = await stream.hear('certificate')
    expect(grant.problem).toBeUndefined()
    const renewed = { key: keyToPem(key), cert: grant.certificatePem, ca: grant.authorityPem }
    await using next = edge.attach({}, renewed)
    await next.hear('welcome')
    expect(await stream.hear('goodbye')).toEqual({ reason: 'handed-over' })
    await using old = edge.attach()
    await old.hear('welcome')
  })

  test('a bad request is answered with what is wrong, and the stream goes on', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    stream.send({ $case: 'certificateRequest', value: { csrDer: Buffer.from('no') } })
    expect(await stream.hear('certificate')).toMatchObject({ certificatePem: '', problem: { code: 'usage' } })
    stream.send({ $case: 'certificateRequest', value: { csrDer: await createCsr(await generateKey()) } })
    expect((await stream.hear('certificate')).problem).toBeUndefined()
  })

  test('the controller renews its own while connections live on', async () => {
    await using controller = await openController({ config: 'certificates: {controller: 3s}' })
    const edge = await joinAgent(controller, { name: 'edge-1' })
    await using stream = await edge.settle()
    const first = await served(controller)
    await until('it has renewed', () =>
      controller.events('certificate.renewed').some(({ kind }) => kind === 'controller'),
    )
    expect(await served(controller)).not.toBe(first)
    await create(controller, draft('web'))
    await stream.hear('apply')
    await using second = edge.attach()
    await second.hear('welcome')
  })
})

/** The fingerprint of the certificate that a new connection is shown. */
async function served({ port, admin }: TestController): Promise<string> {
  const { connect } = await import('node:tls')
  const { clientOptions } = await import('#identity/tls.ts')
  return await new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ...clientOptions(admin.identity) }, () => {
      const { fingerprint256 } = socket.getPeerCertificate()
      socket.once('close', () => resolve(fingerprint256)).destroy()
    })
    socket.once('error', reject)
  })
}
