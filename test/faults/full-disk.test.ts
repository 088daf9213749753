import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { RevokeRequest } from '#gen/fleetcat/v1/operator.ts'
import { Receipt, VerdictKind } from '#gen/fleetcat/v1/relay.ts'
import { auditRows } from '#test/resources/audit.ts'
import { stuckDisk } from '#test/resources/disk.ts'
import { apply, create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, mint, openController, openOperator, type TestController } from '#test/resources/fleet.ts'
import { needing } from '#test/resources/needs.ts'
import { until } from '#test/resources/until.ts'
import { fleetcat, start, temporary } from '../cli/running.ts'

const view = async (controller: TestController, id: string) => {
  const { revocations } = await controller.admin.ask(c => c.listRevocations, { id })
  return revocations[0]!
}

describe.skipIf(process.platform !== 'linux')('while the controller’s disk takes nothing', () => {
  test('nothing is created or changed, and a revocation cuts all the same and says that it is not durable', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const { relay } = await create(controller, draft('web'))
    await create(controller, draft('other'))
    await using stream = await edge.settle()
    let id: string
    {
      using _ = stuckDisk()
      const refused = [
        () => create(controller, draft('new')),
        () => apply(controller, [draft('other', { targets: ['TCP4:127.0.0.1:81'] })]),
        () => apply(controller, [], { pruneSelector: '!none' }),
        () => mint(controller, { name: 'edge-9' }),
      ]
      for (const act of refused) await expect(act()).rejects.toMatchObject({ code: 'unavailable' })

      const answer = await controller.admin.ask(
        c => c.revoke,
        RevokeRequest.fromPartial({ target: 'relay/web', requestId: 'once' }),
      )
      id = answer.revocation!.revocation!.id
      expect(answer.revocation!.notDurable).toBe(true)
      expect(await stream.hear('revoke')).toMatchObject({ target: { $case: 'relayId', value: relay.id } })
      expect(await stream.hear('apply')).toMatchObject({ removed: [relay.id] })
      const { relays } = await controller.admin.ask(c => c.listRelays, { filter: undefined })
      expect(relays.map(each => each.relay!.name)).toEqual(['other'])

      // The receipt cannot be written either, and counts.
      const receipt = Receipt.fromPartial({ revocationId: id, at: new Date(), connectionsCut: 3 })
      stream.send({ $case: 'receipt', value: receipt })
      await until('the receipt counts', async () => {
        return (await view(controller, id)).verdicts[0]!.kind === VerdictKind.CUT
      })
      // Asked again it is the same order, and who comes anew is told of it.
      expect(await revoke(controller, 'relay/web', { requestId: 'once' })).toMatchObject({
        revocation: { id },
      })
      expect((await view(controller, id)).notDurable).toBe(true)
      await using again = edge.attach()
      const sync = await again.await('sync')
      expect(sync.relays.map(({ name }) => name)).toEqual(['other'])
    }
    await until('it is on disk', async () => !(await view(controller, id)).notDurable)
    const rows = (await auditRows(controller)).filter(({ target }) => target === 'relay/web')
    expect(rows.map(({ event }) => event)).toEqual(['relay.created', 'revoked', 'receipt'])
    expect(controller.events('revocation.not-durable')).toHaveLength(1)

    await controller.restart()
    expect(await view(controller, id)).toMatchObject({
      notDurable: false,
      verdicts: [{ kind: VerdictKind.CUT, receipt: { connectionsCut: 3 } }],
    })
    const { relays } = await controller.admin.ask(c => c.listRelays, { filter: undefined })
    expect(relays.map(each => each.relay!.name)).toEqual(['other'])
  })

  test('agents, operators and sources are shut out too, and stay so when it is on disk', async () => {
    await using controller = await openController()
    const edge = await joinAgent(controller, { name: 'edge-1' })
    const other = await joinAgent(controller, { name: 'edge-2' })
    using eve = await openOperator(controller, 'operator', 'eve')
    await using stream = await edge.settle()
    await using bystander = await other.settle()
    const shutOut = async () => {
      await expect(eve.ask(c => c.listRelays, { filter: undefined })).rejects.toMatchObject({
        code: 'revoked',
      })
      await using again = edge.attach()
      expect(await again.ended).toMatchObject({ code: 'revoked' })
    }
    {
      using _ = stuckDisk()
      for (const target of ['agent/edge-1', 'operator/eve', 'source/203.0.113.0/24']) {
        const request = RevokeRequest.fromPartial({ target })
        const { revocation } = await controller.admin.ask(c => c.revoke, request)
        expect(revocation!.notDurable).toBe(true)
      }
      expect(await stream.await('revoke')).toMatchObject({ target: { $case: 'agent' } })
      expect(await bystander.await('bans')).toMatchObject({ bans: [{ cidr: '203.0.113.0/24' }] })
      await shutOut()
    }
    await until('all is on disk', async () => {
      const { revocations } = await controller.admin.ask(c => c.listRevocations, { id: '' })
      return revocations.length === 3 && revocations.every(each => !each.notDurable)
    })
    await shutOut()
    await controller.restart()
    await shutOut()
  })

  test('a controller that stops before it could write says what it forgets', async () => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    await create(controller, draft('web'))
    {
      using _ = stuckDisk()
      await revoke(controller, 'relay/web')
      await controller.running.close()
    }
    expect(controller.events('store.not-caught-up')).toHaveLength(1)
  })
})

needing('prlimit')('fleetcat revoke cuts, says that it is not yet durable, and ends with 6', async () => {
  await using home = await temporary()
  await using fleet = start(['up', '--listen', '127.0.0.1:0', '--log-level', 'warn'], { home: home.path })
  const run = (...words: string[]) => fleetcat(words, { home: home.path })
  expect(await run('status', '--wait', '15s')).toMatchObject({ code: 0 })
  const made = await run('create', 'web', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', 'ECHO', '--wait', '-o', 'json')
  const port = Number(JSON.parse(made.stdout).status.agents[0].local[0].split(':').at(-1))
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write('hello')
  await once(socket, 'data')
  {
    using _ = stuckDisk(fleet.child.pid)
    const closed = new Promise(resolve => socket.once('close', resolve))
    const { code, stdout, stderr } = await run('revoke', 'relay/web', '-o', 'json')
    expect(code).toBe(6)
    expect(stderr).toMatch(/^relay\/web is revoked, but not yet durable: the controller cannot write/)
    expect(JSON.parse(stdout)).toMatchObject({
      durable: false,
      receipts: [{ verdict: 'cut', connectionsCut: 1 }],
    })
    await closed
    expect(await run('create', 'other', 'TCP4-LISTEN:0,bind=127.0.0.1', 'ECHO')).toMatchObject({ code: 1 })
  }
  await until('it is on disk', async () => {
    const { stdout } = await run('revocations', '-o', 'json')
    return JSON.parse(stdout).items[0].durable
  })
  expect(await run('audit', 'verify')).toMatchObject({ code: 0 })
})
