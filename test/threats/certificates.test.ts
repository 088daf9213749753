import { expect, test } from 'vitest'
import { AgentServiceClient } from '#gen/fleetcat/v1/agent.ts'
import { EnrollmentServiceClient } from '#gen/fleetcat/v1/enrollment.ts'
import { OperatorServiceClient, RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { createAuthority } from '#identity/ca.ts'
import { clientOptions, type TlsIdentity } from '#identity/tls.ts'
import { authorityOf, issuedBy, selfSigned, signedByLeaf } from '#test/resources/certificates.ts'
import { joinAgent, openController, operatorWith, type TestController } from '#test/resources/fleet.ts'
import { redeem } from '#test/resources/joining.ts'
import { scriptedAgent } from '#test/resources/scripted-agent.ts'
import { until } from '#test/resources/until.ts'
import { unary } from '#wire/call.ts'
import { channelCredentials, channelOptions } from '#wire/channel.ts'

/** One call with this certificate, checked only by the controller: the client believes the real authority. */
async function tryAs(controller: TestController, identity: TlsIdentity): Promise<unknown> {
  using operator = operatorWith(controller.address, { ...identity, ca: controller.admin.identity.ca })
  return await operator.ask(c => c.whoAmI, {})
}

const nameOf = ({ running }: TestController, name = 'admin') =>
  ({ cluster: running.cluster, kind: 'operator', name }) as const

test.each<[string, string, (controller: TestController) => Promise<TlsIdentity>]>([
  [
    'of another authority, even one of the same name',
    'certificate-refused',
    async c => issuedBy(await createAuthority({ cluster: c.running.cluster }), nameOf(c)),
  ],
  ['that signed itself', 'certificate-refused', c => selfSigned(nameOf(c), c.admin.identity.ca)],
  [
    'that has expired',
    'certificate-refused',
    async c =>
      issuedBy(await authorityOf(c.dataDir), nameOf(c), {
        lifetimeMs: 60_000,
        clock: () => new Date(Date.now() - 120_000),
      }),
  ],
  [
    'that is not valid yet',
    'certificate-refused',
    async c =>
      issuedBy(await authorityOf(c.dataDir), nameOf(c), {
        clock: () => new Date(Date.now() + 3 * 86_400_000),
      }),
  ],
  ['that a leaf signed', 'certificate-refused', c => signedByLeaf(c.admin.identity, nameOf(c))],
  [
    'of the controller itself',
    'certificate-refused',
    async c => issuedBy(await authorityOf(c.dataDir), { kind: 'controller', name: 'controller' }),
  ],
])('a certificate %s is refused before any call', async (_, cause, forge) => {
  await using controller = await openController()
  const forged = await forge(controller)
  await expect(tryAs(controller, forged)).rejects.toMatchObject({ code: 'unavailable' })
  expect(controller.events('front.turned-away')).toContainEqual(expect.objectContaining({ cause }))
})

test('a certificate of our own authority for a name or a key that was never let in is refused', async () => {
  await using controller = await openController()
  const authority = await authorityOf(controller.dataDir)
  for (const name of ['nobody', 'admin']) {
    await expect(
      tryAs(controller, await issuedBy(authority, { kind: 'operator', name })),
    ).rejects.toMatchObject({
      code: 'unauthenticated',
      what: `operator/${name}`,
    })
  }
})

test('without a certificate there is nothing but enrolment, and with one there is no enrolment', async () => {
  await using controller = await openController()
  const { address, admin } = controller
  const anonymous = channelCredentials(clientOptions({ ca: admin.identity.ca }))
  const known = channelCredentials(clientOptions(admin.identity))
  const enrolment = { tokenId: 't', secret: Buffer.alloc(32), csrDer: Buffer.alloc(0), name: '' }

  const operator = new OperatorServiceClient(address, anonymous, channelOptions)
  const agent = new AgentServiceClient(address, anonymous, channelOptions)
  const stranger = new EnrollmentServiceClient(address, anonymous, channelOptions)
  const member = new EnrollmentServiceClient(address, known, channelOptions)
  try {
    await expect(unary(operator, operator.whoAmI, {}, { what: 'x' })).rejects.toMatchObject({
      code: 'unsupported',
    })
    await expect(
      unary(operator, operator.revoke, RevokeRequest.fromPartial({ target: 'relay/x' }), { what: 'x' }),
    ).rejects.toMatchObject({ code: 'unsupported' })
    const attach = agent.attach()
    attach.on('data', () => {})
    const failure = await new Promise<{ code?: number }>(resolve => attach.on('error', resolve))
    expect(failure.code).toBe(12)
    await expect(unary(stranger, stranger.enroll, enrolment, { what: 'x' })).rejects.toMatchObject({
      code: 'denied',
    })
    await expect(unary(member, member.enroll, enrolment, { what: 'x' })).rejects.toMatchObject({
      code: 'unsupported',
    })
  } finally {
    for (const client of [operator, agent, stranger, member]) client.close()
  }
})

test("an agent's certificate opens nothing of the operators', and an alert says that it was tried", async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  using impostor = operatorWith(controller.address, agent.identity)
  await expect(impostor.ask(c => c.listRelays, { filter: undefined })).rejects.toMatchObject({
    code: 'denied',
  })
  await expect(
    impostor.ask(c => c.revoke, RevokeRequest.fromPartial({ target: 'agent/edge-1' })),
  ).rejects.toMatchObject({ code: 'denied' })
  expect(controller.events('alert.wrong-kind')).toMatchObject([
    { kind: 'agent', name: 'edge-1', method: 'listRelays' },
    { kind: 'agent', name: 'edge-1', method: 'revoke' },
  ])
})

test("an operator's certificate attaches no agent, not even under its own name", async () => {
  await using controller = await openController()
  const { admin, address } = controller
  await joinAgent(controller, { name: 'admin' })
  const impostor = scriptedAgent(address, { ...admin.identity, name: 'admin' } as never)
  await using stream = impostor.attach()
  expect(await stream.ended).toMatchObject({ code: 'denied' })
  expect(controller.events('alert.wrong-kind')).toMatchObject([
    { kind: 'operator', name: 'admin', method: 'attach' },
  ])
})

test('a session ends within a second of its certificate', async () => {
  await using controller = await openController({ config: 'certificates: {agent: 2s, operator: 2s}' })
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  const { notAfter } = await lastKey(controller)
  expect(await stream.ended).toMatchObject({ code: 'unauthenticated' })
  const lateMs = Date.now() - notAfter.getTime()
  expect(lateMs).toBeGreaterThanOrEqual(0)
  expect(lateMs).toBeLessThan(1_000)
})

async function lastKey({ admin }: TestController): Promise<{ notAfter: Date }> {
  const { agents } = await admin.ask(c => c.listAgents, { selector: '', name: '' })
  return { notAfter: agents[0]!.certificateExpiresAt! }
}

test('a new key of a name takes the place of the old one, whose stream ends', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await agent.settle()
  const { token } = await controller.admin.ask(c => c.createToken, {
    kind: 'agent',
    name: 'edge-1',
    labels: {},
    role: '',
    ttl: undefined,
    uses: 1,
  })
  await redeem(token)
  expect(await stream.ended).toMatchObject({
    code: 'unauthenticated',
    why: expect.stringContaining('replaced'),
  })
  await until('it is detached', () => controller.events('agent.detached').length > 0)
})
