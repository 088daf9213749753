import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openListener } from '../resources/listener.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { type Fleet, openFleet } from './fleet.ts'

const ttlMs = 6_000
const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'

interface Item {
  readonly status: {
    readonly state: string
    readonly expiresAt: string
    readonly agents: readonly { readonly state: string; readonly local: readonly string[] }[]
  }
}

const relayOf = async (fleet: Fleet): Promise<Item> => (await fleet.json(['list'])).items[0]

async function createWeb(fleet: Fleet, port: number): Promise<number> {
  await fleet.cat(['create', 'web', '--ttl', '6s', listen, `TCP4:127.0.0.1:${port}`, '--wait'])
  const local = (await relayOf(fleet)).status.agents[0]?.local[0] ?? ''
  return Number(local.split(':').at(-1))
}

test('a relay ends by itself on a host that is cut off, and stays ended whoever starts again', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  const controller = await fleet.startController()
  const agent = await fleet.startAgent('edge-1')
  const port = await createWeb(fleet, target.port)
  using user = await openListener(port)
  user.socket.write('hello')
  await until('the relay carries', () => user.heard() === 'hello')
  controller.kill('SIGSTOP')
  await until('the connection is cut', user.closed, 2 * ttlMs)

  controller.kill('SIGCONT')
  const state = async () => (await relayOf(fleet)).status
  await until('the agent has said so', async () => (await state()).agents[0]?.state === 'expired', 20_000)
  expect(Date.parse((await state()).expiresAt)).toBeLessThanOrEqual(Date.now())
  expect((await fleet.cat(['list'])).stdout).toMatch(/web .* expired +expired /)
  await fleet.cat(['wait', 'relay/web', '--for', 'ready'], 6)

  agent.kill('SIGKILL')
  await agent.ended
  await fleet.startAgent('edge-1')
  await until('the new agent has said so', async () => (await state()).agents[0]?.state === 'expired')
  expect((await state()).agents[0]?.local).toEqual([])
  await fleet.cat(['revoke', 'relay/web'])
  expect((await fleet.json(['list'])).items).toEqual([])
}, 60_000)

test('a connection reaches its greatest age on a host that is cut off too, and the relay goes on', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  const controller = await fleet.startController()
  await fleet.startAgent('edge-1')
  const age = async (maxConnectionAge: string) => {
    const file = join(fleet.folder, 'web.json')
    const spec = { listen, target: `TCP4:127.0.0.1:${target.port}`, agents: ['edge-1'] }
    const relay = { apiVersion: 'fleetcat/v1', kind: 'Relay', metadata: { name: 'web' } }
    await writeFile(file, JSON.stringify({ ...relay, spec: { ...spec, limits: { maxConnectionAge } } }))
    await fleet.cat(['apply', '-f', file])
    await fleet.cat(['wait', 'relay/web', '--for', 'ready'])
  }
  await age('1h')
  const local = (await relayOf(fleet)).status.agents[0]?.local[0] ?? ''
  const port = Number(local.split(':').at(-1))
  using user = await openListener(port)
  user.socket.write('hello')
  await until('the relay carries', () => user.heard() === 'hello')
  // Live: from now on the same connection may become so old, and no older.
  await age('15s')
  expect(user.closed()).toBe(false)
  controller.kill('SIGSTOP')
  await until('the connection is cut', user.closed, 30_000)
  using later = await openListener(port)
  later.socket.write('again')
  await until('the relay goes on', () => later.heard() === 'again')
  controller.kill('SIGCONT')
}, 60_000)

test('a host that was stopped until a relay had expired carries not one byte more', async () => {
  let carried = 0
  await using target = await openServer(socket => {
    socket.resume().on('data', chunk => {
      carried += chunk.length
      socket.write(chunk)
    })
  })
  await using fleet = await openFleet()
  await fleet.startController()
  const agent = await fleet.startAgent('edge-1')
  const port = await createWeb(fleet, target.port)
  using user = await openListener(port)
  user.socket.write('before')
  await until('the relay carries', () => user.heard() === 'before')

  agent.kill('SIGSTOP')
  const { expiresAt } = (await relayOf(fleet)).status
  await until('its time is over', () => Date.parse(expiresAt) + 500 < Date.now(), 2 * ttlMs)
  user.socket.write('after')
  agent.kill('SIGCONT')
  await until('the connection is cut', user.closed)
  expect(user.heard()).toBe('before')
  expect(carried).toBe('before'.length)
}, 60_000)
