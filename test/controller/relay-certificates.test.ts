import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { RelayReport, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { createCsr } from '#identity/csr.ts'
import { generateKey, keyToPem, publicHalf } from '#identity/keys.ts'
import { authorityOf } from '#test/resources/certificates.ts'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController, type TestController } from '#test/resources/fleet.ts'
import type { AgentStream } from '#test/resources/scripted-agent.ts'

const web = 'OPENSSL-LISTEN:8443,fork,verify=0,cert=auto'

async function ask(stream: AgentStream, relayId: string, nonce = 1n) {
  const csrDer = await createCsr(await generateKey())
  stream.send({ $case: 'relayCertificateRequest', value: { nonce, relayId, csrDer } })
  const answer = await stream.await('relayCertificate')
  expect(answer.nonce).toBe(nonce)
  return answer
}

async function openEdge(controller: TestController) {
  return await (await joinAgent(controller, { name: 'edge-1' })).settle()
}

describe('a relay with cert=auto', () => {
  test('gets what its addresses name, and neither more nor for longer', async () => {
    await using controller = await openController({ config: 'certificates: {agent: 1h}' })
    await using edge = await openEdge(controller)
    const { relay } = await create(controller, draft('web', { listen: `${web},bind=10.0.0.5` }))
    const { certificatePem, authorityPem, problem } = await ask(edge, relay.id, 7n)
    expect(problem).toBeUndefined()
    const certificate = new X509Certificate(certificatePem)
    expect(certificate.subjectAltName?.split(', ').sort()).toEqual([
      'DNS:edge-1',
      'IP Address:10.0.0.5',
      `URI:spiffe://${controller.running.cluster}/relay/web/edge-1`,
    ])
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(certificate.verify(new X509Certificate(authorityPem).publicKey)).toBe(true)
    expect(certificate.validToDate.getTime()).toBeLessThanOrEqual(Date.now() + 3_600_000)
    expect(controller.events('relay.certified')).toMatchObject([{ by: 'agent/edge-1', relay: 'web' }])
  })

  test('gets the names that it lists in place of those, as they are now', async () => {
    await using controller = await openController()
    await using edge = await openEdge(controller)
    const named = (names: string) => draft('web', { listen: `${web},cert-names=${names}` })
    const { relay } = await create(controller, named('web.example.com'))
    const names = async () => {
      const { certificatePem } = await ask(edge, relay.id)
      return new X509Certificate(certificatePem).subjectAltName?.match(/DNS:[^,]*/g)
    }
    expect(await names()).toEqual(['DNS:web.example.com'])
    await apply(controller, [named('other.example.com')])
    expect(await names()).toEqual(['DNS:other.example.com'])
    await apply(controller, [named('controller.fleetcat')])
    expect((await ask(edge, relay.id)).problem).toMatchObject({ why: expect.stringContaining('controllers') })
  })

  test('as a target gets one for a client', async () => {
    await using controller = await openController()
    await using edge = await openEdge(controller)
    const { relay } = await create(controller, draft('api', { targets: ['OPENSSL:api:443,cert=auto'] }))
    const certificate = new X509Certificate((await ask(edge, relay.id)).certificatePem)
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
    expect(certificate.subjectAltName).toBe(`URI:spiffe://${controller.running.cluster}/relay/api/edge-1`)
  })
})

describe('there is none', () => {
  test('for the relay of another agent, and whoever asks is told of', async () => {
    await using controller = await openController()
    await using edge = await openEdge(controller)
    await joinAgent(controller, { name: 'edge-2' })
    const { relay } = await create(controller, draft('web', { listen: web, agents: ['edge-2'] }))
    const answer = await ask(edge, relay.id)
    expect(answer).toMatchObject({ certificatePem: '', authorityPem: '', problem: { code: 'denied' } })
    expect(controller.events('alert.foreign-certificate')).toMatchObject([{ agent: 'edge-1', relay: 'web' }])
    expect(controller.events('relay.certified')).toEqual([])
  })

  test('for a relay that has moved away, was revoked, or never was', async () => {
    await using controller = await openController()
    await using edge = await openEdge(controller)
    await joinAgent(controller, { name: 'edge-2' })
    const { relay } = await create(controller, draft('web', { listen: web }))
    await edge.await('apply')
    const report = RelayReport.fromPartial({ relayId: relay.id, generation: 1n, state: RelayState.READY })
    edge.send({ $case: 'reports', value: { reports: [report] } })
    await apply(controller, [draft('web', { listen: web, agents: ['edge-2'] })])
    await edge.await('apply')
    expect((await ask(edge, relay.id)).problem).toMatchObject({ code: 'denied' })
    const { relay: gone } = await create(controller, draft('gone', { listen: web }))
    await revoke(controller, 'relay/gone')
    expect((await ask(edge, gone.id)).problem).toMatchObject({ code: 'not-found' })
    expect((await ask(edge, 'nonsense')).problem).toMatchObject({ code: 'not-found' })
    expect(controller.events('alert.foreign-certificate')).toEqual([])
  })

  test('for a relay that does not say so, and for what is no request', async () => {
    await using controller = await openController()
    await using edge = await openEdge(controller)
    const { relay: plain } = await create(controller, draft('plain'))
    expect((await ask(edge, plain.id)).problem).toMatchObject({
      code: 'denied',
      why: expect.stringContaining('cert=auto'),
    })
    const { relay } = await create(controller, draft('web', { listen: web }))
    const value = { nonce: 9n, relayId: relay.id, csrDer: Buffer.from('nonsense') }
    edge.send({ $case: 'relayCertificateRequest', value })
    expect((await edge.await('relayCertificate')).problem).toMatchObject({ code: 'usage' })
  })

  test('for one who asks without end', async () => {
    await using controller = await openController()
    await using edge = await openEdge(controller)
    for (let nonce = 1n; nonce <= 1_100n; nonce++) {
      const value = { nonce, relayId: 'nonsense', csrDer: Buffer.alloc(0) }
      edge.send({ $case: 'relayCertificateRequest', value })
    }
    let last = (await edge.await('relayCertificate')).problem?.code
    for (let heard = 1; heard < 1_000 || last !== 'exhausted'; heard++) {
      last = (await edge.await('relayCertificate')).problem?.code
    }
    expect(last).toBe('exhausted')
  })
})

test('a certificate of a relay lets nobody in at the controller, as whomever', async () => {
  await using controller = await openController()
  const agent = await joinAgent(controller, { name: 'edge-1' })
  const key = await generateKey()
  const authority = await authorityOf(controller.dataDir)
  const cert = await authority.issueForRelay({
    relay: 'web',
    agent: 'edge-1',
    publicKey: publicHalf(key),
    lifetimeMs: 60_000,
    hosts: ['localhost'],
    usages: ['clientAuth', 'serverAuth'],
  })
  const identity = { key: keyToPem(key), cert, ca: authority.certificatePem }
  await using stream = agent.attach({}, identity)
  expect(await stream.ended).toMatchObject({ what: 'identity refused' })
  expect(stream.unheard).toEqual([])
})
