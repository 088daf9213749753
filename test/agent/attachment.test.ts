import { credentials } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { type AttachContext, attach } from '#agent/attachment.ts'
import { AgentServiceClient } from '#gen/fleetcat/v1/agent.ts'
import { channelOptions } from '#wire/channel.ts'
import { openController } from './controller.ts'

const nothing = () => {}
const fail = () => {
  throw new TypeError('nobody has thought of this')
}

function openStream(address: string, more: Partial<AttachContext>) {
  return attach({
    client: new AgentServiceClient(address, credentials.createInsecure(), channelOptions),
    hello: {
      version: '0',
      bootId: 'boot-1',
      bootedAt: new Date(),
      hostLabels: {},
      capabilities: [],
      features: [],
      epoch: 0n,
      seenRevision: 0n,
      revision: 0n,
      clock: new Date(),
    },
    signal: new AbortController().signal,
    welcomed: nothing,
    received: nothing,
    drained: nothing,
    ...more,
  })
}

test('an order that cannot be dealt with ends its stream, and not the process', async () => {
  await using controller = await openController()
  const opening = openStream(controller.address, { received: fail })
  const visit = await controller.visit(1)
  visit.welcome()
  const attachment = await opening
  if ('how' in attachment) throw new Error('it was not welcomed')
  visit.sync(1n)
  expect(await attachment.ended).toMatchObject({
    how: 'lost',
    error: { code: 'internal', why: 'nobody has thought of this' },
  })
})

test('a stream whose welcome cannot be dealt with is lost', async () => {
  await using controller = await openController()
  const opening = openStream(controller.address, { welcomed: fail })
  const visit = await controller.visit(1)
  visit.welcome()
  expect(await opening).toMatchObject({ how: 'lost', error: { code: 'internal' } })
})

test('room to write that cannot be used ends the stream', async () => {
  await using controller = await openController()
  const opening = openStream(controller.address, { drained: fail })
  const visit = await controller.visit(1)
  visit.welcome()
  const attachment = await opening
  if ('how' in attachment) throw new Error('it was not welcomed')
  const reason = 'x'.repeat(100_000)
  while (attachment.write({ message: { $case: 'goodbye', value: { reason } } }));
  expect(await attachment.ended).toMatchObject({ how: 'lost', error: { code: 'internal' } })
})
