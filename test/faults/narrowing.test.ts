import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { apply, draft } from '../resources/drafts.ts'
import { openController } from '../resources/fleet.ts'
import { kernelSockets } from '../resources/kernel-sockets.ts'
import { openClient, openEchoServer, type TestClient } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { connectionsOf, createReady, startHost, untilReady } from './host.ts'

type Spec = NonNullable<Parameters<typeof draft>[1]>

const [kept, unwanted] = ['127.0.0.2', '127.0.0.3']

/** What of a relay is written otherwise; the client at `unwanted` is no longer allowed then, the one at `kept` is. */
const changes: Record<string, (spec: Spec) => Spec> = {
  'a source that is no longer allowed': spec => ({ ...spec, limits: { allowFrom: [`${kept}/32`] } }),
  'a source that is denied now': spec => ({ ...spec, limits: { denyFrom: [`${unwanted}/32`] } }),
}

test.each(Object.entries(changes))(
  'an apply cuts %s, and nobody else',
  async (_, narrower) => {
    await using echo = await openEchoServer()
    await using controller = await openController()
    await using host = await startHost(controller)
    const spec = { listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork', targets: [`TCP4:127.0.0.1:${echo.port}`] }
    const { port } = await createReady(controller, 'web', spec)
    await using stays = await openClient(port, { from: kept })
    await using goes = await openClient(port, { from: unwanted })
    await until('both are listed', async () => (await connectionsOf(controller, 'web')).length === 2)

    await apply(controller, [draft('web', narrower(spec))])
    await until('it is cut', () => goes.closed)
    await until('one is listed', async () => (await connectionsOf(controller, 'web')).length === 1)
    const remotes = kernelSockets(host.agent.pid).filter(
      ({ localPort, listens }) => localPort === port && !listens,
    )
    expect(remotes.map(({ remote }) => remote)).toEqual([`${kept}:${stays.localPort}`])
    await talks(stays)
    expect(await turnedAway(port, unwanted)).toBe(true)
  },
  60_000,
)

test('a narrower range in the address lets nobody stay who is not in it', async () => {
  await using echo = await openEchoServer()
  await using controller = await openController()
  await using host = await startHost(controller)
  const spec = { listen: 'TCP4-LISTEN:0,bind=127.0.0.1,fork', targets: [`TCP4:127.0.0.1:${echo.port}`] }
  const { port } = await createReady(controller, 'web', spec)
  await using goes = await openClient(port, { from: unwanted })
  await until('it is listed', async () => (await connectionsOf(controller, 'web')).length === 1)
  await apply(controller, [draft('web', { ...spec, listen: `${spec.listen},range=${kept}/32` })])
  await until('it is cut', () => goes.closed)
  const next = Number((await untilReady(controller, 'web')).split(':').at(-1))
  const there = kernelSockets(host.agent.pid).filter(({ remotePort }) => remotePort === echo.port)
  expect(there).toEqual([])
  await using allowed = await openClient(next, { from: kept })
  await talks(allowed)
}, 60_000)

test('a ceiling that the owner lowers cuts what it no longer permits, and nothing else', async () => {
  await using first = await openEchoServer()
  await using second = await openEchoServer()
  await using controller = await openController()
  await using host = await startHost(controller)
  const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
  const one = await createReady(controller, 'one', { listen, targets: [`TCP4:127.0.0.1:${first.port}`] })
  const two = await createReady(controller, 'two', { listen, targets: [`TCP4:127.0.0.1:${second.port}`] })
  await using stays = await openClient(one.port)
  await using goes = await openClient(two.port)
  await talks(stays)
  await talks(goes)

  await writeFile(join(host.dataDir, 'agent.yaml'), `forbid:\n  - TCP:127.0.0.1:${second.port}\n`, {
    mode: 0o600,
  })
  host.agent.kill('SIGHUP')
  await until('it is cut', () => goes.closed)
  await host.agent.says(/"event":"relay.rejected"/)
  const forbidden = [two.port, second.port]
  const left = kernelSockets(host.agent.pid).filter(
    ({ localPort, remotePort }) => forbidden.includes(localPort) || forbidden.includes(remotePort),
  )
  expect(left).toEqual([])
  await talks(stays)
  await expect(openClient(two.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
}, 60_000)

async function turnedAway(port: number, from: string): Promise<boolean> {
  try {
    await using client = await openClient(port, { from })
    return await until('it is closed', () => client.closed)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNRESET'
  }
}

async function talks(client: TestClient): Promise<void> {
  const heard = new Promise(resolve => client.once('data', resolve))
  client.write('hello')
  await heard
}
