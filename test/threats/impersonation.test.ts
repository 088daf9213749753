import type { ServiceError } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { AgentServiceClient, AgentServiceService } from '#gen/fleetcat/v1/agent.ts'
import { Receipt, RelayReport, RelayState, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { Timestamp } from '#gen/google/protobuf/timestamp.ts'
import { clientOptions } from '#identity/tls.ts'
import { create, draft, revoke } from '#test/resources/drafts.ts'
import { eventually } from '#test/resources/eventually.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { until } from '#test/resources/streams.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'

const receipt = (revocationId: string) =>
  ({ $case: 'receipt', value: Receipt.fromPartial({ revocationId, at: new Date() }) }) as const

test("a receipt counts for the agent that sent it, and for no other's order", async () => {
  await using controller = await openController()
  const [victim, liar] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'liar' }),
  ]
  await using _ = await victim.settle()
  await using stream = await liar.settle()
  await create(controller, draft('web'))
  const { revocation } = await revoke(controller, 'relay/web')
  stream.send(receipt(revocation.id))
  stream.send(receipt('v-never-given'))
  await until('both are noted', () => controller.events('alert.unasked-receipt').length === 2)
  expect(controller.events('alert.unasked-receipt')).toMatchObject([
    { agent: 'liar', revocationId: revocation.id },
    { agent: 'liar', revocationId: 'v-never-given' },
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

test('an agent cannot claim more connections than any host has', { timeout: 30_000 }, async () => {
  await using controller = await openController({ logLevel: 'warn' })
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  for (let batch = 0; batch < 21; batch++) {
    const opened = Array.from({ length: 5_000 }, (_, i) => ({
      id: `c-${batch}-${i}`,
      relayId: 'r',
      source: '',
      target: '',
      tlsIdentity: '',
      openedAt: undefined,
      idle: undefined,
      bytesIn: 0n,
      bytesOut: 0n,
    }))
    stream.send({
      $case: 'connections',
      value: { snapshot: false, opened, closed: [], traffic: [], brief: 0n },
    })
  }
  expect(await stream.ended).toMatchObject({ code: 'exhausted' })
  await eventually('they are gone from the lists', async () => {
    return (await controller.admin.ask(c => c.getStatus, {})).connections === 0
  })
})
