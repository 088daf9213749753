import { expect, test } from 'vitest'
import { RevokeRequest, WatchDumpRequest } from '#gen/fleetcat/v1/operator.ts'
import { Receipt, RelayReport, RelayState } from '#gen/fleetcat/v1/relay.ts'
import { createCsr } from '#identity/csr.ts'
import { generateKey } from '#identity/keys.ts'
import { parseToken } from '#identity/token.ts'
import { auditRows, rowsOf } from '#test/resources/audit.ts'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, mint, openController, openOperator } from '#test/resources/fleet.ts'
import { redeem } from '#test/resources/joining.ts'
import { until } from '#test/resources/until.ts'
import { messages } from '#wire/call.ts'

const anywhere = expect.stringMatching(/^127\.0\.0\.1:\d+$/)
const admin = { by: 'operator/admin', from: anywhere }

test('each change is a row when it is answered: who, from where, what, why', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  const last = async () => (await auditRows(controller)).at(-1)
  await create(controller, draft('web', {}, { reason: 'a demo' }))
  expect(await last()).toMatchObject({
    ...admin,
    event: 'relay.created',
    target: 'relay/web',
    reason: 'a demo',
    outcome: 'done',
    details: { generation: '1', listen: 'TCP4-LISTEN:8080,fork', agents: ['edge-1'] },
  })
  const read = await last()
  await create(controller, draft('web'))
  expect(await last()).toEqual(read) // unchanged, so nothing to tell
  await apply(controller, [draft('web', { targets: ['TCP4:127.0.0.1:81'] })])
  expect(await last()).toMatchObject({ ...admin, event: 'relay.changed', details: { generation: '2' } })
  await revoke(controller, 'relay/web', { dryRun: true })
  expect(await last()).toMatchObject({ event: 'relay.changed' })
  await revoke(controller, 'relay/web', { reason: 'enough' })
  expect(await last()).toMatchObject({ ...admin, event: 'revoked', target: 'relay/web', reason: 'enough' })
  const ban = RevokeRequest.fromPartial({ target: 'source/203.0.113.0/24' })
  const { revocation } = await controller.admin.ask(c => c.revoke, ban)
  expect(await last()).toMatchObject({ ...admin, event: 'revoked', target: 'source/203.0.113.0/24' })
  const { id } = revocation!.revocation!
  const lock = { ...ban, lock: { seconds: 3_600n, nanos: 0 } }
  await controller.admin.ask(c => c.lift, { id, reason: 'ours' })
  expect(await last()).toMatchObject({ ...admin, event: 'lifted', reason: 'ours' })
  await controller.admin.ask(c => c.revoke, lock)
  expect(await last()).toMatchObject({
    ...admin,
    event: 'revoked',
    details: { lockUntil: expect.any(String) },
  })
  await mint(controller, { kind: 'operator', name: 'ann', role: 'viewer' })
  const made = await last()
  expect(made).toMatchObject({ ...admin, event: 'token.created', details: { name: 'ann', role: 'viewer' } })
  await controller.admin.ask(c => c.revokeToken, { id: String(made!.details.id) })
  expect(await last()).toMatchObject({ ...admin, event: 'token.revoked', target: made!.target })
})

test('prune, enrolment, login, renewal and receipts are rows too', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1', labels: { site: 'a' } })
  using ann = await openOperator(controller, 'operator', 'ann')
  await ann.ask(c => c.renewCertificate, { csrDer: await createCsr(await generateKey()) })
  await using stream = await edge.settle()
  await create(controller, draft('web', {}, { labels: { app: 'x' } }))
  await stream.hear('apply')
  await apply(controller, [], { pruneSelector: 'app=x' })
  const { revocationId } = await stream.hear('revoke')
  const receipt = Receipt.fromPartial({ revocationId, at: new Date(), listenersClosed: 1, connectionsCut: 2 })
  stream.send({ $case: 'receipt', value: receipt })
  await until('the receipt is a row', async () => (await rowsOf(controller, 'receipt')).length === 1)
  expect(await auditRows(controller)).toMatchObject([
    { event: 'operator.let-in', by: 'local', target: 'operator/admin' },
    { event: 'token.created' },
    { event: 'enrolled', by: 'agent/edge-1', from: anywhere, target: 'agent/edge-1' },
    { event: 'token.created' },
    { event: 'enrolled', by: 'operator/ann', target: 'operator/ann', details: { role: 'operator' } },
    { event: 'certificate.renewed', by: 'operator/ann', from: anywhere },
    { event: 'agent.attached', by: 'agent/edge-1', from: anywhere },
    { event: 'relay.created' },
    { event: 'revoked', target: 'relay/web', reason: 'pruned by apply' },
    {
      event: 'receipt',
      by: 'agent/edge-1',
      target: 'relay/web',
      details: { verdict: 'cut', listenersClosed: 1, connectionsCut: 2 },
    },
  ])
})

test('what was refused is a row, once for each who tries, however often', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1' })
  using eve = await openOperator(controller, 'viewer', 'eve')
  for (let i = 0; i < 5; i++)
    await expect(create(controller, draft('x'), { by: eve })).rejects.toMatchObject({ code: 'denied' })
  await create(controller, draft('web'))
  const lock = { target: 'relay/web', lock: { seconds: 60n, nanos: 0 } }
  await controller.admin.ask(c => c.revoke, RevokeRequest.fromPartial(lock))
  await expect(create(controller, draft('web'))).rejects.toMatchObject({ code: 'revoked' })
  // A mistake is no refusal.
  await expect(create(controller, draft('BAD NAME'))).rejects.toMatchObject({ code: 'usage' })
  const token = await mint(controller, { name: 'edge-2' })
  await expect(redeem(token, { secret: Buffer.alloc(32) })).rejects.toMatchObject({ code: 'denied' })
  await revoke(controller, 'operator/eve')
  await expect(eve.ask(c => c.listRelays, { filter: undefined })).rejects.toMatchObject({ code: 'revoked' })

  await using stream = await edge.settle()
  const { relay } = await create(controller, draft('own'))
  await stream.await('apply')
  const problem = { code: 'denied', what: 'the host’s ceiling', why: 'no such line', fix: '' }
  const report = { relayId: relay.id, generation: 1n, state: RelayState.REJECTED, problem }
  for (let i = 0; i < 3; i++)
    stream.send({ $case: 'reports', value: { reports: [RelayReport.fromPartial(report)] } })
  await until('the ceiling is a row', async () => (await rowsOf(controller, 'relay.rejected')).length > 0)

  const refused = (await auditRows(controller)).filter(({ outcome }) => outcome === 'refused')
  expect(refused).toMatchObject([
    { event: 'access.denied', by: 'operator/eve', from: anywhere, details: { method: 'createRelay' } },
    { event: 'access.denied', by: 'operator/admin', target: 'relay/web', details: { code: 'revoked' } },
    { event: 'enrolment.refused', by: 'stranger', from: anywhere, target: `token/${parseToken(token).id}` },
    { event: 'access.denied', by: 'operator/eve', target: 'operator/eve', details: { code: 'revoked' } },
    { event: 'relay.rejected', by: 'agent/edge-1', target: 'relay/own', details: { problem } },
  ])
})

test('a dump is on record before anything is shown', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1' })
  await using stream = await edge.settle({ features: ['dump'] })
  await create(controller, draft('web'))
  await stream.await('apply')
  const request = WatchDumpRequest.fromPartial({ target: 'relay/web' })
  const eye = messages(controller.admin.client.watchDump(request), 'dump')
  expect((await eye.next()).value).toMatchObject({ message: { $case: 'begun' } })
  expect(await rowsOf(controller, 'dump.began')).toMatchObject([{ ...admin, target: 'relay/web' }])
  await eye.return()
  await until('its end is a row', async () => (await rowsOf(controller, 'dump.ended')).length === 1)
})

test('agents that come and go, and two with one identity, are rows', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1' })
  {
    await using first = await edge.settle()
    await using second = await edge.settle({ bootId: 'other' })
    expect(await first.await('goodbye')).toEqual({ reason: 'fenced' })
    expect(second.unheard).toEqual([])
  }
  await until('it is detached', async () => (await rowsOf(controller, 'agent.detached')).length === 1)
  expect(await rowsOf(controller, 'agent.attached')).toMatchObject([{ by: 'agent/edge-1' }])
  expect(await rowsOf(controller, 'alert.duplicate-identity')).toMatchObject([
    { outcome: 'alert', target: 'agent/edge-1', details: { fenced: edge.bootId } },
  ])
})

test('no text whatever that a peer chose is hostile in a row, and no secret is in one', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  const hostile = 'a\r\nb\u001b[31m\u202e\u009b\u2028"|=\\]c'
  await create(controller, draft('web', {}, { reason: hostile }))
  await revoke(controller, 'relay/web', { reason: hostile })
  const token = await mint(controller, { name: 'edge-2' })
  await create(controller, draft('two', {}, { reason: `use ${token}` }))
  await expect(redeem(token, { name: hostile })).rejects.toMatchObject({ code: 'denied' })
  const text = JSON.stringify((await auditRows(controller)).map(row => ({ ...row, seq: 0 })))
  expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\\[rn]|\\u00[019]/u)
  expect(text).not.toContain(token)
  expect(text).not.toContain(parseToken(token).secret.toString('base64url'))
  expect((await rowsOf(controller, 'revoked'))[0]!.reason).toBe(
    'a\\u{d}\\u{a}b\\u{1b}[31m\\u{202e}\\u{9b}\\u{2028}"|=\\]c',
  )
})

test('the rows outlive a restart, and go on where they ended', async () => {
  await using controller = await openController()
  const before = await auditRows(controller)
  await controller.restart()
  await joinAgent(controller, { name: 'edge-1' })
  const after = await auditRows(controller)
  expect(after.slice(0, before.length)).toEqual(before)
  expect(after.length).toBeGreaterThan(before.length)
})

test('rows are found by time, by who, by event, by target and from the end', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  for (let i = 0; i < 250; i++) await create(controller, draft(`r-${i}`))
  using ann = await openOperator(controller, 'operator', 'ann')
  await create(controller, draft('hers'), { by: ann })
  const all = await auditRows(controller)
  const middle = all[120]!
  const since = await auditRows(controller, { since: middle.at })
  expect(since).toEqual(all.filter(({ at }) => at >= middle.at))
  expect(await auditRows(controller, { last: 3 })).toEqual(all.slice(-3))
  expect(await auditRows(controller, { last: 2, event: 'token' })).toEqual(
    all.filter(({ event }) => event === 'token.created').slice(-2),
  )
  for (const by of ['ann', 'operator/ann'])
    expect((await auditRows(controller, { by })).map(({ event }) => event)).toEqual([
      'enrolled',
      'relay.created',
    ])
  expect(await auditRows(controller, { target: 'relay/r-7' })).toHaveLength(1)
  expect(await auditRows(controller, { event: 'relay' })).toHaveLength(251)
  expect(await auditRows(controller, { event: 'rel' })).toHaveLength(0)
  expect(await auditRows(controller, { after: all.at(-2)!.seq })).toEqual(all.slice(-1))
})

test('who follows sees each row once it is written, and a viewer sees none', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  using eve = await openOperator(controller, 'viewer', 'eve')
  await expect(auditRows({ admin: eve })).rejects.toMatchObject({ code: 'denied' })
  const call = controller.admin.client.readAudit({
    ...{ after: 0n, since: undefined, last: 1, follow: true, by: '', event: 'relay', target: '' },
  })
  const stream = messages(call, 'audit')
  expect((await stream.next()).value).toMatchObject({ rows: [] })
  for (const name of ['one', 'two']) {
    await create(controller, draft(name))
    const { value } = await stream.next()
    expect(JSON.parse(String(value!.rows[0]!.record))).toMatchObject({ target: `relay/${name}` })
  }
  await stream.return()
})
