import type { ServiceError } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import {
  AgentServiceClient,
  AgentServiceService,
  ConnectionEvents,
  Remark,
  TunnelNews,
} from '#gen/fleetcat/v1/agent.ts'
import { Connection, Receipt, RelayReport, RelayState, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { Timestamp } from '#gen/google/protobuf/timestamp.ts'
import { clientOptions } from '#identity/tls.ts'
import { create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { until } from '#test/resources/until.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'

const receipt = (revocationId: string) =>
  ({ $case: 'receipt', value: Receipt.fromPartial({ revocationId, at: new Date() }) }) as const

test("a receipt counts for the agent that sent it, and for no other's order", async () => {
  await using controller = await openController()
  const [victim, liar, inventor] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'liar' }),
    await joinAgent(controller, { name: 'inventor' }),
  ]
  await using _ = await victim.settle()
  await using stream = await liar.settle()
  await using other = await inventor.settle()
  await create(controller, draft('web'))
  const { revocation } = await revoke(controller, 'relay/web')
  stream.send(receipt(revocation.id))
  await until('one is noted', () => controller.events('alert.unasked-receipt').length === 1)
  other.send(receipt('v-never-given'))
  await until('both are noted', () => controller.events('alert.unasked-receipt').length === 2)
  expect(controller.events('alert.unasked-receipt')).toMatchObject([
    { agent: 'liar', revocationId: revocation.id },
    { agent: 'inventor', revocationId: 'v-never-given' },
  ])
  const { revocations } = await controller.admin.ask(c => c.listRevocations, { id: revocation.id })
  expect(revocations[0]!.verdicts).toMatchObject([{ agent: 'edge-1', kind: VerdictKind.PENDING }])
})

test("a report of a relay that is another's does not count, and does not draw the liar into its revocation", async () => {
  await using controller = await openController()
  const [victim, liar] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'liar' }),
  ]
  await using _ = await victim.settle()
  await using stream = await liar.settle()
  const { relay } = await create(controller, draft('web'))
  const lie = RelayReport.fromPartial({ relayId: relay.id, generation: 1n, state: RelayState.READY })
  stream.send({ $case: 'reports', value: { reports: [lie] } })
  await until('it is noted', () => controller.events('alert.foreign-report').length === 1)
  const { relays } = await controller.admin.ask(c => c.listRelays, { filter: undefined })
  expect(relays[0]).toMatchObject({ state: RelayState.PENDING, agents: [{ agent: 'edge-1' }] })
  expect((await revoke(controller, 'relay/web')).revocation.agents).toEqual(['edge-1'])
})

test.each([
  ['a label of a megabyte', { hostLabels: { os: 'x'.repeat(2 ** 20) } }],
  [
    'a thousand labels',
    { hostLabels: Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`l${i}`, 'x'])) },
  ],
])('an agent whose Hello has %s is sent away, and the lists stay whole', async (_, hello) => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = agent.attach(hello)
  expect(await stream.ended).toMatchObject({ code: 'usage' })
  await controller.admin.ask(c => c.listAgents, { selector: '', name: '' })
})

test('a moment that no clock can show ends the stream of the agent that said it, and the lists stay whole', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  const { identity } = agent
  await using stream = await agent.settle()
  const client = new AgentServiceClient(
    controller.address,
    channelCredentials(clientOptions(identity)),
    channelOptions,
  )
  // No client of ours would encode it.
  const { path, responseDeserialize } = AgentServiceService.attach
  const call = client.makeBidiStreamRequest(path, (bytes: Buffer) => bytes, responseDeserialize)
  const ended = new Promise<ServiceError>(resolve => call.on('error', resolve))
  call.on('data', () => {})
  const moment = Timestamp.encode({ seconds: 2n ** 62n, nanos: 0 }).finish()
  const hello = field(8, moment)
  call.write(field(1, hello))
  expect((await ended).code).toBe(3)
  client.close()
  stream.send({ $case: 'pulse', value: { clock: new Date() } })
  const { agents } = await controller.admin.ask(c => c.listAgents, { selector: '', name: '' })
  expect(agents).toMatchObject([{ name: 'edge-1', state: 1 }])
})

function field(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes])
}

test('hostile text in what an agent says reaches no line of the log as it is', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  const hostile = 'a\r\nb\u001b[31m\u009b2J\u202e\u2028'
  await using stream = agent.attach({ version: hostile })
  await stream.hear('welcome')
  stream.send({ $case: 'receipt', value: Receipt.fromPartial({ revocationId: hostile }) })
  stream.send({ $case: 'goodbye', value: { reason: hostile } })
  await until('it is gone', () => controller.events('agent.detached').length === 1)
  await until('the receipt is noted', () => controller.events('alert.unasked-receipt').length === 1)
  for (const line of controller.lines) expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
  expect(controller.events('agent.detached')[0]!.why).toBe(
    'a\\u{d}\\u{a}b\\u{1b}[31m\\u{9b}2J\\u{202e}\\u{2028}',
  )
})

function connection(id: string, relayId: string, text = ''): Connection {
  return Connection.fromPartial({ id, relayId, source: text, target: text, tlsIdentity: text })
}

const opening = (opened: Connection[]) =>
  ({ $case: 'connections', value: ConnectionEvents.fromPartial({ opened }) }) as const

test.each([
  ['more connections than any host has', 5_000, ''],
  ['connections that are full of text', 500, 'x'.repeat(1_000)],
])('an agent cannot claim %s', { timeout: 30_000 }, async (_, batch, text) => {
  await using controller = await openController({ logLevel: 'warn' })
  const agent = await joinAgent(controller, { name: 'edge-1' })
  const { relay } = await create(controller, draft('web'))
  await using stream = await agent.settle()
  for (let i = 0; i < 40; i++) {
    stream.send(opening(Array.from({ length: batch }, (_, k) => connection(`c-${i}-${k}`, relay.id, text))))
  }
  expect(await stream.ended).toMatchObject({ code: 'exhausted' })
  const { agents } = await controller.admin.ask(c => c.listAgents, { selector: '', name: '' })
  expect(agents).toMatchObject([{ connections: 0 }])
  await controller.admin.ask(c => c.listConnections, { filter: undefined })
})

test('an agent that says it has more than one answer holds hides nobody else, and the answer says that it is not whole', async () => {
  await using controller = await openController({ logLevel: 'warn' })
  await create(controller, draft('web', { selector: '!retired' }))
  const { relays } = await controller.admin.ask(c => c.listRelays, { filter: undefined })
  const { id } = relays[0]!.relay!
  await using loud = await (await joinAgent(controller, { name: 'a-loud' })).settle()
  await using quiet = await (await joinAgent(controller, { name: 'edge-1' })).settle()
  const [batches, batch] = [15, 1_000]
  for (let i = 0; i < batches; i++) {
    loud.send(
      opening(Array.from({ length: batch }, (_, k) => connection(`c-${i}-${k}`, id, 'x'.repeat(300)))),
    )
  }
  quiet.send(opening([connection('c-quiet', id)]))
  await until('all are counted', async () => {
    return (await controller.admin.ask(c => c.getStatus, {})).connections === batches * batch + 1
  })
  const answer = await controller.admin.ask(c => c.listConnections, { filter: undefined })
  expect(answer.connections[0]).toMatchObject({ agent: 'edge-1', connection: { id: 'c-quiet' } })
  expect(answer.omitted).toBeGreaterThan(100)
  expect(answer.connections.length + answer.omitted).toBe(batches * batch + 1)
})

test('connections count only for relays of the agent itself, and long texts in them are cut', async () => {
  await using controller = await openController()
  const [victim, liar] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'liar' }),
  ]
  const { relay: theirs } = await create(controller, draft('web'))
  const { relay: own } = await create(controller, draft('own', { agents: ['liar'] }))
  await using _ = await victim.settle()
  await using stream = await liar.settle()
  stream.send(
    opening([
      connection('c-1', theirs.id),
      connection('c-2', 'r-gone'),
      connection('c-3', own.id, 'x'.repeat(2_000)),
    ]),
  )
  await until('it is noted', () => controller.events('alert.foreign-connection').length === 1)
  const { connections } = await controller.admin.ask(c => c.listConnections, { filter: undefined })
  expect(connections).toMatchObject([{ relay: 'own', connection: { id: 'c-3' } }])
  expect(connections[0]!.connection!.source).toBe(`${'x'.repeat(299)}…`)
})

test('what an agent says of the targets of a relay counts for its own, and is cut', async () => {
  await using controller = await openController()
  const [victim, liar] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'liar' }),
  ]
  const { relay: theirs } = await create(controller, draft('web'))
  const { relay: own } = await create(controller, draft('own', { agents: ['liar'] }))
  await using _ = await victim.settle()
  await using stream = await liar.settle()
  const remark = (relayId: string, event: string) =>
    Remark.fromPartial({ relayId, event, subject: 'SERIAL:/dev/ttyUSB0', text: 'x'.repeat(2_000) })
  const remarks = [
    remark(theirs.id, 'serial.alert'),
    remark(own.id, 'fleet.erased'),
    remark(own.id, 'serial.alert'),
  ]
  stream.send({ $case: 'remarks', value: { remarks, leftOut: 5n } })
  await until('both are noted', () => controller.events('serial.alert').length === 1)
  expect(controller.events('alert.foreign-remark')).toMatchObject([{ agent: 'liar', relay: 'web' }])
  expect(controller.events('fleet.erased')).toEqual([])
  expect(controller.events('serial.left-out')).toMatchObject([{ agent: 'liar', missing: 5 }])
  const [noted] = controller.events('serial.alert')
  expect(noted).toMatchObject({ agent: 'liar', text: `${'x'.repeat(299)}…` })
})

test('what an agent makes up of ports fills no log, and hides no alert', async () => {
  await using controller = await openController({ logLevel: 'warn' })
  const [victim, liar] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'liar' }),
  ]
  const { relay } = await create(controller, draft('web'))
  await using other = await victim.settle()
  await using stream = await liar.settle()
  const remarks = Array.from({ length: 5_000 }, (_, n) =>
    Remark.fromPartial({ event: 'serial.alert', subject: `SERIAL:/dev/ttyUSB${n}` }),
  )
  stream.send({ $case: 'remarks', value: { remarks, leftOut: 0n } })
  await until('it is noted', () => controller.events('serial.alert').length >= 100)
  const real = Remark.fromPartial({ relayId: relay.id, event: 'serial.alert', text: 'panic' })
  other.send({ $case: 'remarks', value: { remarks: [real], leftOut: 0n } })
  await until('what others say is noted', () =>
    controller.events('serial.alert').some(({ text }) => text === 'panic'),
  )
  expect(controller.events('serial.alert').length).toBeLessThan(110)
})

test('an agent makes up a few tunnels of another, and not as many as would use up its room', async () => {
  await using controller = await openController()
  const [liar, victim] = [
    await joinAgent(controller, { name: 'liar' }),
    await joinAgent(controller, { name: 'edge-1' }),
  ]
  await using _ = await victim.settle()
  await using stream = await liar.settle()
  const { relay } = await create(controller, draft('web', { targets: ['@liar/TCP4:127.0.0.1:1'] }))
  const claim = (tunnelId: string) =>
    stream.send({
      $case: 'tunnelNews',
      value: TunnelNews.fromPartial({
        ...{ tunnelId, relayId: relay.id, initiator: 'agent/edge-1', address: 'TCP4:127.0.0.1:1' },
        straight: true,
      }),
    })
  for (let n = 0; n < 65; n++) claim(`t-${n}`)
  expect(await stream.await('tunnelWithdrawal')).toMatchObject({
    tunnelId: 't-64',
    reason: expect.stringContaining('has 64 tunnels between these two already'),
  })
  claim('t'.repeat(65))
  expect(await stream.ended).toMatchObject({ code: 'usage' })
})

test('what an agent says of its relays breaks no list, however much it says', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  const text = 'x'.repeat(100_000)
  const relays = []
  for (let i = 0; i < 100; i++) relays.push((await create(controller, draft(`r${i}`))).relay)
  for (const { id } of relays) {
    const report = RelayReport.fromPartial({
      relayId: id,
      generation: 1n,
      state: RelayState.REJECTED,
      local: Array.from({ length: 60 }, () => text.slice(0, 1_000)),
      problem: { code: 'denied', what: text, why: text, fix: text },
    })
    stream.send({ $case: 'reports', value: { reports: [report] } })
  }
  await until('all are known', async () => {
    const views = (await controller.admin.ask(c => c.listRelays, { filter: undefined })).relays
    return views.every(({ state }) => state === RelayState.REJECTED)
  })
})

test('an agent that speaks of what is not its own fills no log, and is sent away when it goes on', async () => {
  await using controller = await openController({ logLevel: 'warn' })
  const [victim, liar] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'liar' }),
  ]
  const { relay } = await create(controller, draft('web'))
  await using _ = await victim.settle()
  for (const claim of ['reports', 'connections', 'receipts'] as const) {
    await using stream = await liar.settle()
    for (let i = 0; i < 5; i++) {
      const many = Array.from({ length: 1_000 }, (_, k) => `${i}-${k}`)
      if (claim === 'reports') {
        const reports = many.map(() => RelayReport.fromPartial({ relayId: relay.id }))
        stream.send({ $case: 'reports', value: { reports } })
      } else if (claim === 'connections') stream.send(opening(many.map(id => connection(id, relay.id))))
      else for (const id of many) stream.send(receipt(`v-${id}`))
    }
    expect(await stream.ended).toMatchObject({ code: 'denied' })
  }
  expect(controller.lines).toHaveLength(3)
})

test('a message with more reports than any agent has ends the stream', async () => {
  await using controller = await openController({ logLevel: 'warn' })
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  const reports = Array.from({ length: 10_001 }, () => RelayReport.fromPartial({ relayId: 'r-none' }))
  stream.send({ $case: 'reports', value: { reports } })
  expect(await stream.ended).toMatchObject({ code: 'usage', why: '10001 are more than 10000' })
})
