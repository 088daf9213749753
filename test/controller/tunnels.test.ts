import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TunnelRequest } from '#gen/fleetcat/v1/agent.ts'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, openOperator, type TestController } from '#test/resources/fleet.ts'
import type { AgentStream, ScriptedAgent } from '#test/resources/scripted-agent.ts'
import { messages } from '#wire/call.ts'
import { features } from '#wire/features.ts'

const able = { features: [...features] }
const there = '@db-1/TCP4:127.0.0.1:5432'

let controller: TestController
let app: ScriptedAgent
let web: ScriptedAgent
let db: ScriptedAgent
beforeAll(async () => {
  controller = await openController()
  app = await joinAgent(controller, { name: 'app-1' })
  web = await joinAgent(controller, { name: 'web-1' })
  db = await joinAgent(controller, { name: 'db-1' })
})
afterAll(() => controller[Symbol.asyncDispose]())

let nonce = 0n
async function ask(stream: AgentStream, request: Partial<TunnelRequest>) {
  nonce++
  const value = { relayId: '', onwardOf: '', address: there, ...request, nonce }
  stream.send({ $case: 'tunnelRequest', value })
  const grant = await stream.await('tunnelGrant')
  expect(grant.nonce).toBe(nonce)
  return grant
}

test('an agent gets a tunnel to what its relay names, and to nothing else', async () => {
  await using appStream = await app.settle(able)
  await using webStream = await web.settle(able)
  await using dbStream = await db.settle(able)
  const spec = { agents: ['app-1'], targets: [there] }
  const { relay } = await create(controller, draft('pg', spec))
  const relayId = relay.id

  const grant = await ask(appStream, { relayId })
  expect(grant).toMatchObject({ agent: 'db-1', problem: undefined })
  expect(grant.ticket).toMatch(/^[a-z2-7]{52}$/)
  expect(grant.keys).toHaveLength(1)
  const offer = await dbStream.await('tunnelOffer')
  expect(offer).toMatchObject({
    ticket: grant.ticket,
    initiator: 'agent/app-1',
    relayId,
    address: 'TCP4:127.0.0.1:5432',
  })
  expect(offer.initiatorKeys).toHaveLength(1)

  const refusals: [AgentStream, Partial<TunnelRequest>, string][] = [
    [appStream, { relayId, address: '@db-1/TCP4:127.0.0.1:22' }, 'denied'],
    [appStream, { relayId, address: '@web-1/TCP4:127.0.0.1:5432' }, 'denied'],
    [appStream, { relayId: 'r-none' }, 'not-found'],
    [appStream, { onwardOf: grant.tunnelId }, 'denied'],
    [webStream, { relayId }, 'denied'],
  ]
  for (const [stream, request, code] of refusals) {
    const refused = await ask(stream, request)
    expect(refused).toMatchObject({ ticket: '', problem: { code } })
  }
  expect(dbStream.unheard.filter(({ $case }) => $case === 'tunnelOffer')).toEqual([])
})

test('a relay whose clients set the line of its port gets a tunnel to the port with its line', async () => {
  await using appStream = await app.settle(able)
  await using dbStream = await db.settle(able)
  const port = '@db-1/SERIAL:/dev/ttyUSB0,share'
  const spec = { agents: ['app-1'], listen: 'RFC2217-LISTEN:0,bind=127.0.0.1,fork', targets: [port] }
  const { relay } = await create(controller, draft('modem', spec))
  const relayId = relay.id
  expect(relay.spec?.targets).toEqual([port])
  const bytes = await ask(appStream, { relayId, address: port })
  expect(bytes).toMatchObject({ ticket: '', problem: { code: 'denied' } })
  const { tunnelId } = await ask(appStream, { relayId, address: `${port},rfc2217` })
  expect(await dbStream.await('tunnelOffer')).toMatchObject({ address: 'SERIAL:/dev/ttyUSB0,share,rfc2217' })
  await revoke(controller, 'relay/modem')
  expect(await dbStream.await('tunnelWithdrawal')).toMatchObject({ tunnelId })
})

test('a tunnel is taken back when its relay is changed, and when it is revoked', async () => {
  await using appStream = await app.settle(able)
  await using dbStream = await db.settle(able)
  const spec = { agents: ['app-1'], targets: [there], listen: 'TCP4-LISTEN:0,bind=127.0.0.1' }
  for (const end of ['changed', 'revoked']) {
    const { relay } = await create(controller, draft(`pg-${end}`, spec))
    const { tunnelId } = await ask(appStream, { relayId: relay.id })
    await dbStream.await('tunnelOffer')
    if (end === 'revoked') await revoke(controller, `relay/pg-${end}`)
    else {
      const drafts = [draft(`pg-${end}`, { ...spec, targets: ['TCP4:127.0.0.1:1'] })]
      await apply(controller, drafts)
    }
    expect(await dbStream.await('tunnelWithdrawal')).toMatchObject({ tunnelId })
  }
})

test('an operator gets a tunnel, which ends with the call, and with the operator', async () => {
  await using dbStream = await db.settle(able)
  using operator = await openOperator(controller, 'operator')
  const open = () => {
    const call = operator.client.openTunnel({ address: there, purpose: 'forward', onward: [], tunnelId: '' })
    return { call, said: messages(call, 'a tunnel') }
  }
  const first = open()
  const { value } = await first.said.next()
  const offer = await dbStream.await('tunnelOffer')
  expect(offer).toMatchObject({
    ticket: value?.grant?.ticket,
    initiator: 'operator/test-operator',
    purpose: 'forward',
  })
  await first.said.return()
  expect(await dbStream.await('tunnelWithdrawal')).toMatchObject({ tunnelId: offer.tunnelId })

  const second = open()
  await second.said.next()
  const { tunnelId } = await dbStream.await('tunnelOffer')
  await revoke(controller, 'operator/test-operator')
  expect(await dbStream.await('revoke')).toMatchObject({
    target: { $case: 'peer', value: 'operator/test-operator' },
  })
  expect(await dbStream.await('tunnelWithdrawal')).toMatchObject({ tunnelId })
  await expect(second.said.next()).rejects.toMatchObject({ code: 'revoked' })
})

test('an agent that is not heard, or too old, answers no tunnel', async () => {
  const call = (address: string) =>
    messages(
      controller.admin.client.openTunnel({ address, purpose: 'pipe', onward: [], tunnelId: '' }),
      'a tunnel',
    ).next()
  await expect(call('@web-1/ECHO')).rejects.toMatchObject({ code: 'unavailable' })
  await expect(call('@bd-1/ECHO')).rejects.toMatchObject({
    code: 'not-found',
    fix: expect.stringContaining('@db-1/'),
  })
  await expect(call('ECHO')).rejects.toMatchObject({ code: 'usage' })
  await using _ = await web.settle({ features: [] })
  await expect(call('@web-1/ECHO')).rejects.toMatchObject({ code: 'unsupported' })
})
