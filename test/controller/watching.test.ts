import { expect, test } from 'vitest'
import { create, draft, revoke } from '#test/resources/drafts.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { heapInUse } from '#test/resources/memory.ts'
import { messages } from '#wire/call.ts'

/** Passes over what comes until it is as wanted. */
async function until<T>(watch: AsyncIterator<T, void>, wanted: (seen: T) => boolean): Promise<T> {
  for (;;) {
    const { done, value } = await watch.next()
    if (done) throw new Error('the watch ended')
    if (wanted(value as T)) return value as T
  }
}

test('a watch of relays gives the present at once, and then each change', async () => {
  await using controller = await openController()
  await joinAgent(controller, { name: 'edge-1' })
  await create(controller, draft('there'))
  const watch = messages(controller.admin.client.watchRelays({ filter: undefined }), 'watch')
  const names = (seen: { relays: { relay?: { name: string } | undefined }[] }) =>
    seen.relays.map(r => r.relay!.name)
  expect(names((await watch.next()).value as never)).toEqual(['there'])
  await create(controller, draft('fresh'))
  await until(watch, seen => names(seen).join() === 'fresh,there')
  await revoke(controller, 'relay/there')
  await until(watch, seen => names(seen).join() === 'fresh')
  await watch.return()
})

test('a watch of agents shows them come, go and be revoked', async () => {
  await using controller = await openController()
  const watch = messages(controller.admin.client.watchAgents({ selector: 'site=x' }), 'watch')
  expect((await watch.next()).value).toEqual({ agents: [] })
  const edge = await joinAgent(controller, { name: 'edge-1', labels: { site: 'x' } })
  await until(watch, ({ agents }) => agents[0]?.state === 3)
  const stream = await edge.settle()
  await until(watch, ({ agents }) => agents[0]?.state === 1)
  await stream[Symbol.asyncDispose]()
  await until(watch, ({ agents }) => agents[0]?.state === 3)
  await revoke(controller, 'agent/edge-1')
  await until(watch, ({ agents }) => agents[0]?.state === 4)
  await watch.return()
})

test('a watch of connections follows what agents report, by relay, agent and source', async () => {
  await using controller = await openController()
  const edge = await joinAgent(controller, { name: 'edge-1' })
  const { relay } = await create(controller, draft('web'))
  await using stream = await edge.settle()
  const filter = { relay: 'web', agent: 'edge-1', source: '10.0.0.0/8', id: '' }
  const watch = messages(controller.admin.client.watchConnections({ filter }), 'watch')
  expect((await watch.next()).value).toEqual({ connections: [], omitted: 0 })
  const connection = (id: string, source: string) => ({
    id,
    relayId: relay.id,
    source,
    target: '127.0.0.1:80',
    tlsIdentity: '',
    openedAt: new Date(),
    idle: undefined,
    bytesIn: 0n,
    bytesOut: 0n,
  })
  const opened = [
    connection('c-1', '10.1.2.3:9'),
    connection('c-2', '[fd00::1]:9'),
    connection('c-3', 'not an address'),
  ]
  const none = { snapshot: false, opened: [], closed: [], traffic: [], brief: 0n }
  stream.send({ $case: 'connections', value: { ...none, opened } })
  const seen = await until(watch, ({ connections }) => connections.length > 0)
  expect(seen.connections).toMatchObject([{ agent: 'edge-1', relay: 'web', connection: { id: 'c-1' } }])
  const traffic = [{ id: 'c-1', bytesIn: 5n, bytesOut: 7n, idle: undefined }]
  stream.send({ $case: 'connections', value: { ...none, traffic } })
  await until(watch, ({ connections }) => connections[0]?.connection?.bytesIn === 5n)
  const ended = {
    id: 'c-1',
    cause: 'eof',
    bytesIn: 5n,
    bytesOut: 7n,
    duration: undefined,
    problem: undefined,
  }
  stream.send({ $case: 'connections', value: { ...none, closed: [ended] } })
  await until(watch, ({ connections }) => connections.length === 0)
  await watch.return()
})

test('a malformed filter ends the watch with what is wrong', async () => {
  await using controller = await openController()
  const bySelector = messages(controller.admin.client.watchAgents({ selector: 'a=(' }), 'watch')
  await expect(bySelector.next()).rejects.toMatchObject({ code: 'usage', what: 'selector `a=(`' })
  const filter = { relay: '', agent: '', source: 'nowhere', id: '' }
  const bySource = messages(controller.admin.client.watchConnections({ filter }), 'watch')
  await expect(bySource.next()).rejects.toMatchObject({ code: 'usage' })
})

test('watches that were left cost nothing', async () => {
  await using controller = await openController({ logLevel: 'warn' })
  const { client } = controller.admin
  const round = async () => {
    for (let i = 0; i < 100; i++) {
      const watch = messages(client.watchAgents({ selector: '' }), 'watch')
      await watch.next()
      await watch.return()
    }
  }
  await round()
  const kept: number[] = []
  for (let i = 0; i < 4; i++) {
    const before = heapInUse()
    await round()
    kept.push((heapInUse() - before) / 100)
  }
  // Whatever else grows at times, a leak would show in each round.
  console.log(`a watch that was left keeps ${Math.round(Math.min(...kept))} bytes`)
  expect(Math.min(...kept)).toBeLessThan(3_000)
})

test('a watch that lasts ends when the controller stops, and does not hold it up', async () => {
  await using controller = await openController()
  const watch = messages(controller.admin.client.watchAgents({ selector: '' }), 'watch')
  await watch.next()
  const began = performance.now()
  const ended = expect(watch.next()).rejects.toMatchObject({ code: 'unavailable' })
  await controller.restart()
  await ended
  expect(performance.now() - began).toBeLessThan(1_500)
})
