import { connect } from 'node:net'
import { credentials, status } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { openBans } from '#agent/bans.ts'
import { openCeiling } from '#agent/ceiling.ts'
import { type Lease, openLease } from '#agent/lease.ts'
import { openOutbox } from '#agent/outbox.ts'
import { openReconciler, type Reconciler } from '#agent/reconciler.ts'
import { openRevocations } from '#agent/revocations.ts'
import { openRoster } from '#agent/roster.ts'
import { openSession } from '#agent/session.ts'
import { AgentServiceClient } from '#gen/fleetcat/v1/agent.ts'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { RelayError } from '#relay/errors.ts'
import { until } from '#test/resources/until.ts'
import { channelOptions } from '#wire/channel.ts'
import { toDuration } from '#wire/duration.ts'
import { toStatus } from '#wire/status.ts'
import { openController } from './controller.ts'
import { desired, keptLog, memory, memoryTombstones, permit } from './resources.ts'

/** An agent's inside with a session to a controller of the test, in the clear. */
function openAgent(address: string, more: { pulseMs?: number } = {}) {
  const kept = keptLog()
  const { log } = kept
  const ceiling = openCeiling({ permit: permit(...memory), forbid: [] })
  const bans = openBans(() => performance.now())
  const tombstones = memoryTombstones()
  const roster = openRoster({ due: () => outbox.connectionsChanged() })
  const reconciler: Reconciler = openReconciler({
    agent: 'edge-1',
    ceiling,
    roster,
    isRevoked: id => revocations.has(id),
    remarks: { heard() {} },
    isBanned: bans.refuses,
    unwelcome() {},
    clock: () => performance.now(),
    wall: Date.now,
    lease: { holds: length => lease.holds(length), isBegun: () => lease.begun },
    changed: id => outbox.relayChanged(id),
    log,
  })
  const revocations = openRevocations({
    relay: reconciler.cutRelay,
    connection: reconciler.cutConnection,
    everything: reconciler.cutEverything,
    peer: async () => ({ listenersClosed: 0, connectionsCut: 0 }),
    banned: reconciler.cutBanned,
    bans,
    tombstones,
    log,
  })
  let reports = 0
  const outbox = openOutbox({
    relays: reconciler.relays,
    report(relayId) {
      reports++
      return reconciler.report(relayId)
    },
    connections: roster,
    banned: () => [],
    remarks: { take: () => undefined },
    askLease: () => lease.ask(),
  })
  const lease: Lease = openLease({
    clock: () => performance.now(),
    lengths: reconciler.leases,
    due: outbox.leaseDue,
    changed: () => void reconciler.rightsChanged(),
  })
  const session = openSession({
    agent: 'edge-1',
    dialler: {
      open: () => new AgentServiceClient(address, credentials.createInsecure(), channelOptions),
      place: () => ({ host: '127.0.0.1', port: 1 }),
      failed() {},
    },
    hello: () => ({
      version: '0',
      bootId: 'boot-1',
      bootedAt: new Date(),
      hostLabels: { os: 'linux' },
      capabilities: ['TCP'],
      features: [],
    }),
    reconciler,
    lease,
    tombstones,
    revocations,
    dumps: { begin() {} },
    probes: { run: async ({ probeId }) => ({ probeId, result: undefined }) },
    tunnels: { offered() {}, withdrawn() {}, present: () => [] },
    outbox,
    log,
    ...more,
  })
  return {
    session,
    reconciler,
    roster,
    outbox,
    /** How many reports were asked for, to be written. */
    reports: () => reports,
    kept,
    async [Symbol.asyncDispose]() {
      await session[Symbol.asyncDispose]()
      await reconciler[Symbol.asyncDispose]()
      roster[Symbol.dispose]()
      lease[Symbol.dispose]()
    },
  }
}

const relayOrder = (relayId: string) => ({
  $case: 'revoke' as const,
  value: {
    revocationId: `v-${relayId}`,
    target: { $case: 'relayId' as const, value: relayId },
    reason: 'test',
    revision: 9n,
  },
})

describe('attaching', () => {
  test('begins with Hello, from nothing; the Sync is applied, reported and acknowledged', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    expect(visit.hello).toMatchObject({ bootId: 'boot-1', epoch: 0n, revision: 0n, capabilities: ['TCP'] })
    visit.welcome()
    expect(await visit.hears('connections')).toMatchObject({ snapshot: true, opened: [] })
    visit.sync(5n, [desired('r-1')])
    await agent.session.synced
    const { reports } = await visit.hears('reports', value => value.reports[0]?.state === RelayState.READY)
    expect(reports[0]).toMatchObject({ relayId: 'r-1', generation: 1n })
    expect(await visit.hears('applied')).toEqual({ revision: 5n })
    const kinds = visit.heard.map(said => said.$case)
    expect(kinds.lastIndexOf('applied')).toBeGreaterThan(kinds.indexOf('reports'))
  })

  test('nothing opens before a Sync', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.welcome()
    await visit.hears('connections')
    expect([...agent.reconciler.relays()]).toEqual([])
  })

  test('a pulse comes again and again', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address, { pulseMs: 10 })
    const visit = await controller.visit(1)
    visit.welcome()
    await until('three pulses', () => visit.heard.filter(said => said.$case === 'pulse').length >= 3)
    expect(agent.session.attached).toBe(true)
  })

  test('connections are told as they open and close', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.welcome()
    visit.sync(5n, [
      desired('r-1', { targets: ['MEMORY:served'] }),
      desired('r-2', { listen: 'MEMORY-LISTEN:served,fork', targets: ['MEMORY:nobody'] }),
    ])
    await agent.session.synced
    const { local } = agent.reconciler.report('r-1')!
    const socket = connect(Number(local[0]!.split(':')[1]), '127.0.0.1').on('error', () => {})
    await until('it is counted or told', () =>
      visit.heard.some(
        said => said.$case === 'connections' && (said.value.opened.length > 0 || said.value.brief > 0n),
      ),
    )
    socket.destroy()
  })
})

describe('a lost session', () => {
  test('is resumed where it was, the relays having run all the while', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome()
    first.sync(5n, [desired('r-1')])
    await agent.session.synced
    const { local } = agent.reconciler.report('r-1')!
    first.hangUp()
    const second = await controller.visit(2)
    expect(second.hello).toMatchObject({ epoch: 1n, revision: 5n, bootId: 'boot-1' })
    second.welcome({ resumed: true })
    const { reports } = await second.hears('reports')
    expect(reports[0]).toMatchObject({ relayId: 'r-1', state: RelayState.READY, local })
    expect(await second.hears('connections')).toMatchObject({ snapshot: true })
    expect(await second.hears('applied')).toEqual({ revision: 5n })
    second.say({ $case: 'apply', value: { revision: 6n, changed: [desired('r-2')], removed: ['r-1'] } })
    await second.hears('applied', ({ revision }) => revision === 6n)
    expect([...agent.reconciler.relays()]).toEqual(['r-2'])
    expect(agent.kept.has('session resumed')).toBe(true)
  })

  test('comes back once the controller does', async () => {
    const first = await openController()
    await using agent = openAgent(first.address)
    const visit = await first.visit(1)
    visit.welcome()
    visit.sync(5n, [desired('r-1')])
    await agent.session.synced
    await first[Symbol.asyncDispose]()
    await until('it is noticed', () => agent.kept.has('session lost'))
    await using second = await openController(undefined, first.port)
    const again = await second.visit(1)
    expect(agent.reconciler.report('r-1')).toMatchObject({ state: RelayState.READY })
    again.welcome({ resumed: true })
    expect((await again.hears('reports')).reports).toHaveLength(1)
  })

  test('a goodbye that is not final is answered by coming back', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome()
    first.say({ $case: 'goodbye', value: { reason: 'shutting-down' } })
    first.hangUp()
    const second = await controller.visit(2)
    second.welcome()
    await until('it is attached again', () => agent.session.attached)
  })

  test('a controller that says no is asked again, and what to do about it is logged', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.fail({ code: status.UNAUTHENTICATED, details: 'who are you' })
    await until('it is logged', () => agent.kept.has('does not accept this agent'))
    const line = agent.kept.lines.find(({ msg }) => String(msg).includes('does not accept'))
    expect(line).toMatchObject({ level: 50 })
    expect(line!.fix).toContain('--join')
    await controller.visit(2)
  })
})

describe('a final goodbye', () => {
  test('an agent that was revoked while it was away stops when it is told so at the door', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.fail(toStatus(new RelayError('revoked', { what: 'agent/edge-1', why: 'it was revoked by ann' })))
    expect((await agent.session.stopped).why).toMatchObject({ code: 'revoked', why: 'it was revoked by ann' })
  })

  test.each(['fenced', 'removed'])('%s stops the agent for good, with the reason', async reason => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.welcome()
    visit.say({ $case: 'goodbye', value: { reason } })
    visit.hangUp()
    const { why } = await agent.session.stopped
    expect(why?.message).toContain(`agent edge-1 was ${reason}`)
    expect(why?.fix).not.toBe('')
    expect(controller.visits).toHaveLength(1)
  })

  test('it may come in place of a welcome', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.say({ $case: 'goodbye', value: { reason: 'fenced' } })
    visit.hangUp()
    expect((await agent.session.stopped).why?.code).toBe('conflict')
  })
})

describe('an order to revoke', () => {
  test('is answered by a receipt, and the relay stays closed whatever comes later', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.welcome()
    visit.sync(5n, [desired('r-1')])
    await agent.session.synced
    visit.say(relayOrder('r-1'))
    expect(await visit.hears('receipt')).toMatchObject({
      revocationId: 'v-r-1',
      listenersClosed: 1,
      connectionsCut: 0,
    })
    visit.say({
      $case: 'apply',
      value: { revision: 6n, changed: [desired('r-1', { generation: 2n })], removed: [] },
    })
    await visit.hears('reports', ({ reports }) => reports.some(({ state }) => state === RelayState.REVOKED))
    expect(agent.reconciler.states().get('ready')).toBe(undefined)
  })

  test('for the whole agent closes all that it runs, and nothing opens again', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.welcome()
    visit.sync(5n, [desired('r-1'), desired('r-2')])
    await agent.session.synced
    const target = { $case: 'agent' as const, value: 'edge-1' }
    visit.say({ $case: 'revoke', value: { revocationId: 'v-all', target, reason: '', revision: 6n } })
    expect(await visit.hears('receipt')).toMatchObject({ revocationId: 'v-all', listenersClosed: 2 })
    visit.say({ $case: 'apply', value: { revision: 7n, changed: [desired('r-3')], removed: [] } })
    await visit.hears('reports', ({ reports }) => reports.some(({ state }) => state === RelayState.REVOKED))
    expect(agent.reconciler.states().get('ready')).toBe(undefined)
  })

  test('in a Sync comes before what it opens', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.welcome()
    const { value } = relayOrder('r-1')
    const relays = [desired('r-1'), desired('r-2')]
    visit.say({ $case: 'sync', value: { revision: 5n, revocations: [value], relays, bans: [] } })
    await visit.hears('receipt')
    await agent.session.synced
    expect(agent.reconciler.report('r-1')?.state).toBe(RelayState.REVOKED)
    expect(agent.reconciler.report('r-2')?.state).toBe(RelayState.READY)
    expect(agent.kept.lines.filter(({ msg }) => msg === 'relay applied')).toHaveLength(1)
  })

  test('that comes again after a lost session gets the same receipt again', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome()
    first.sync(5n, [desired('r-1')])
    await agent.session.synced
    first.say(relayOrder('r-1'))
    const receipt = await first.hears('receipt')
    first.hangUp()
    const second = await controller.visit(2)
    second.welcome({ resumed: true })
    second.say(relayOrder('r-1'))
    expect(await second.hears('receipt')).toEqual(receipt)
  })
})

describe('an older controller', () => {
  test('of a lower epoch is not obeyed', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome({ epoch: 3n })
    first.sync(5n, [desired('r-1')])
    await agent.session.synced
    first.hangUp()
    const second = await controller.visit(2)
    second.welcome({ epoch: 2n })
    second.sync(9n)
    await until('it is refused', () => agent.kept.lines.some(({ why }) => String(why).includes('older than')))
    expect([...agent.reconciler.relays()]).toEqual(['r-1'])
  })

  test('of a lower revision is not obeyed, unless its epoch is higher', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome()
    first.sync(5n, [desired('r-1')])
    await agent.session.synced
    first.hangUp()
    const second = await controller.visit(2)
    second.welcome()
    second.sync(4n)
    const third = await controller.visit(3)
    expect([...agent.reconciler.relays()]).toEqual(['r-1'])
    third.welcome({ epoch: 2n })
    third.sync(4n)
    await third.hears('applied', ({ revision }) => revision === 4n)
    expect([...agent.reconciler.relays()]).toEqual([])
  })
})

describe('a hand-over', () => {
  test('moves to a second stream of the same boot, and the end of the first goes unnoticed', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome()
    first.sync(5n, [desired('r-1')])
    await agent.session.synced
    const moved = agent.session.handOver()
    const second = await controller.visit(2)
    expect(second.hello).toMatchObject({ bootId: 'boot-1', revision: 5n })
    first.say({ $case: 'goodbye', value: { reason: 'handed-over' } })
    first.hangUp()
    second.welcome({ resumed: true })
    await moved
    expect((await second.hears('reports')).reports[0]).toMatchObject({
      relayId: 'r-1',
      state: RelayState.READY,
    })
    second.say(relayOrder('r-1'))
    await second.hears('receipt')
    expect(controller.visits).toHaveLength(2)
    expect(agent.kept.has('session lost')).toBe(false)
  })

  test('that fails leaves the first stream as it is', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome()
    first.sync(5n)
    await agent.session.synced
    const moved = agent.session.handOver()
    const second = await controller.visit(2)
    second.fail({ code: status.UNAVAILABLE, details: 'not now' })
    await expect(moved).rejects.toThrow(/not now/)
    first.say(relayOrder('r-1'))
    await first.hears('receipt')
  })
})

test('a certificate request is answered on the same stream, and fails with it', async () => {
  await using controller = await openController()
  await using agent = openAgent(controller.address)
  const visit = await controller.visit(1)
  visit.welcome()
  await until('it is attached', () => agent.session.attached)
  const answer = agent.session.requestCertificate(Buffer.from('csr'), 5_000)
  expect((await visit.hears('certificateRequest')).csrDer.toString()).toBe('csr')
  const grant = { certificatePem: 'pem', authorityPem: 'ca', problem: undefined }
  visit.say({ $case: 'certificate', value: grant })
  expect(await answer).toEqual(grant)
  const lost = agent.session.requestCertificate(Buffer.from('csr'), 5_000)
  visit.hangUp()
  await expect(lost).rejects.toThrow(/the session ended/)
})

test('leaving says goodbye, and does not come back', async () => {
  await using controller = await openController()
  await using agent = openAgent(controller.address)
  const visit = await controller.visit(1)
  visit.welcome()
  await until('it is attached', () => agent.session.attached)
  await agent.session.leave('shutting-down')
  expect(await visit.hears('goodbye')).toEqual({ reason: 'shutting-down' })
  expect(await agent.session.stopped).toEqual({ why: undefined })
})

test('to a controller that does not read nothing more is written, and it gets the newest state when it does', async () => {
  await using controller = await openController()
  await using agent = openAgent(controller.address)
  const visit = await controller.visit(1)
  visit.welcome()
  const many = Array.from({ length: 300 }, (_, i) =>
    desired(`r-${i}`, { listen: `MEMORY-LISTEN:m${i},fork` }),
  )
  visit.sync(5n, many)
  await agent.session.synced
  await visit.hears('applied')
  visit.pause()
  let quiet = 0
  for (let round = 0; round < 1_000 && quiet < 50; round++) {
    const before = agent.reports()
    for (const { relayId } of many) agent.outbox.relayChanged(relayId)
    await new Promise(resolve => setImmediate(resolve))
    await new Promise(resolve => setImmediate(resolve))
    quiet = agent.reports() === before ? quiet + 1 : 0
  }
  expect(quiet).toBe(50)
  visit.resume()
  visit.say({ $case: 'apply', value: { revision: 6n, changed: [], removed: [] } })
  await visit.hears('applied', ({ revision }) => revision === 6n)
})

describe('the lease', () => {
  const lease = toDuration(400)
  const listener = (local: string) =>
    desired('r-1', { lease, listen: 'MEMORY-LISTEN:lease,fork', targets: [local] })

  test('without an answer nothing opens', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.withholdLeases()
    visit.welcome()
    visit.sync(5n, [listener('MEMORY:nobody')])
    await visit.hears('applied')
    expect(agent.reconciler.report('r-1')).toMatchObject({ state: RelayState.PENDING, problem: undefined })
  })

  test('that ends closes what runs, says so, and lets it come back by itself', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const visit = await controller.visit(1)
    visit.welcome()
    visit.sync(5n, [listener('MEMORY:nobody')])
    await agent.session.synced
    expect(agent.reconciler.report('r-1')).toMatchObject({ state: RelayState.READY })
    visit.withholdLeases()
    const { reports } = await visit.hears('reports', value => value.reports[0]?.state === RelayState.LAPSED)
    expect(reports[0]?.problem).toMatchObject({ code: 'lapsed', why: expect.stringContaining('0.4 s') })
    visit.grantLeases()
    await until('it is back', () => agent.reconciler.report('r-1')?.state === RelayState.READY)
  })

  test('lives on when the stream is lost and found again within it', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome()
    first.sync(5n, [{ ...listener('MEMORY:nobody'), lease: toDuration(10_000) }])
    await agent.session.synced
    first.hangUp()
    const second = await controller.visit(2)
    second.welcome({ resumed: true })
    await until('the lease is renewed', () => second.heard.length > 0)
    expect(agent.reconciler.report('r-1')?.trace.map(({ state }) => state)).toEqual(['ready'])
  })
})

describe('an older controller', () => {
  test.each([
    ['epoch', { epoch: 1n }, 9n],
    ['revision', { epoch: 2n }, 4n],
  ])('that shows itself by its %s is refused, and nothing of it opens', async (_, welcome, revision) => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome({ epoch: 2n })
    first.sync(5n, [desired('r-1')])
    await first.hears('applied')
    first.hangUp()
    const second = await controller.visit(2)
    expect(second.hello).toMatchObject({ epoch: 2n, seenRevision: 5n })
    second.welcome(welcome)
    second.sync(revision, [desired('r-1'), desired('r-2')])
    await until('it is refused', () => agent.kept.lines.some(({ why }) => /older/.test(String(why))))
    expect([...agent.reconciler.relays()]).toEqual(['r-1'])
  })

  test('that was restored as it should be, with a higher epoch, is obeyed; what was revoked stays dead', async () => {
    await using controller = await openController()
    await using agent = openAgent(controller.address)
    const first = await controller.visit(1)
    first.welcome({ epoch: 1n })
    first.sync(50n, [desired('r-1')])
    await agent.session.synced
    first.say(relayOrder('r-1'))
    await first.hears('receipt')
    first.hangUp()
    const second = await controller.visit(2)
    second.welcome({ epoch: 2n })
    second.sync(4n, [desired('r-1'), desired('r-2')])
    await second.hears('reports', value => value.reports.some(({ relayId }) => relayId === 'r-2'))
    await until('both are judged', () => agent.reconciler.report('r-2')?.state === RelayState.READY)
    expect(agent.reconciler.report('r-1')?.state).toBe(RelayState.REVOKED)
  })
})
